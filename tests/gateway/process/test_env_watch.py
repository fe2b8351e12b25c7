"""When a change of the env file counts."""

from pathlib import Path

from gateway.process.env_watch import EnvWatch
from gateway.settings import load


def test_a_file_counts_once_it_has_stayed_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "gateway.env"
    file.write_text("GATEWAY_LOG_LEVEL=info\n")
    watch = EnvWatch(load({"GATEWAY_ENV_FILE": str(file), "GATEWAY_ENV_WATCH_MS": "1000"}))
    assert not watch.look()
    file.write_text("")  # somebody begins to write it anew
    assert not watch.look()
    file.write_text("GATEWAY_LOG_LEVEL=warning\n")
    assert not watch.look()
    assert watch.look()
    assert not watch.look()


def test_a_file_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "gateway.env"
    file.write_text("GATEWAY_LOG_LEVEL=info\n")
    watch = EnvWatch(load({"GATEWAY_ENV_FILE": str(file), "GATEWAY_ENV_WATCH_MS": "1000"}))
    file.unlink()
    assert [watch.look() for _ in range(3)] == [False] * 3
    file.write_text("GATEWAY_LOG_LEVEL=warning\n")
    assert [watch.look() for _ in range(3)] == [False, True, False]
