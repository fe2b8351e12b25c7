"""Where values come from, and what is said about the ones that do not count."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.settings import SettingsError, load
from gateway.variables import file_or_pipe
from gateway.variables.environment import MAX_ENV_FILE_BYTES, read_sources, unread_warning

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a developer's own .env must not decide a test


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / ".env"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(environ)
    return [f"{bad.variable}: {bad.problem}" for bad in refused.value.problems]


def test_the_process_environment_wins_over_the_file(write: Write) -> None:
    write("GATEWAY_PORT=1111\nGATEWAY_DRAIN_SECONDS=5\n")
    settings = load({"GATEWAY_PORT": "2222"})
    assert settings.listen.port == 2222
    assert settings.drain_s == 5
    assert settings.origins["GATEWAY_PORT"] == "environment"
    assert settings.origins["GATEWAY_DRAIN_SECONDS"] == "file"
    assert settings.origins["GATEWAY_HOST"] == "default"


def test_a_variable_that_the_file_cannot_change_is_named(write: Write) -> None:
    write("GATEWAY_PORT=1111\nGATEWAY_HOST=127.0.0.1\n")
    settings = load({"GATEWAY_PORT": "2222", "GATEWAY_HOST": "127.0.0.1"})
    assert settings.pinned == ("GATEWAY_PORT",)


def test_a_variable_that_the_file_empties_but_the_process_sets_is_pinned(write: Write) -> None:
    write("RUNNER_BASE_URL=\n")
    assert load({"RUNNER_BASE_URL": "http://runner"}).pinned == ("RUNNER_BASE_URL",)


def test_an_empty_or_blank_variable_counts_as_absent(write: Write) -> None:
    write("GATEWAY_PORT=1111\n")
    settings = load({"GATEWAY_PORT": "", "RUNNER_BASE_URL": "  "})
    assert settings.listen.port == 1111
    assert settings.origins["RUNNER_BASE_URL"] == "default"


def test_the_line_break_that_ends_a_mounted_secret_is_cut() -> None:
    assert load({"RUNNER_SERVICE_TOKEN": "token-of-the-runner\n"}).service_token == (
        "token-of-the-runner"
    )


def test_no_env_file_is_fine() -> None:
    assert load({}).env_file is None


@pytest.mark.parametrize(
    ("target", "why"),
    [("gone", "no such file or directory"), (".env", "too many levels of symbolic links")],
)
def test_a_link_to_nothing_is_no_order_to_take_the_defaults(
    tmp_path: Path, target: str, why: str
) -> None:
    (tmp_path / ".env").symlink_to(target)
    assert problems({}) == [f"GATEWAY_ENV_FILE: is not set, and .env cannot be read ({why})"]


def test_a_named_env_file_must_be_there() -> None:
    assert problems({"GATEWAY_ENV_FILE": "no-such-file"}) == [
        "GATEWAY_ENV_FILE: names a file that cannot be read (no such file or directory)"
    ]


def test_a_named_env_file_replaces_the_default_one(write: Write, tmp_path: Path) -> None:
    write("GATEWAY_PORT=1111\n")
    other = tmp_path / "other.env"
    other.write_text("GATEWAY_DRAIN_SECONDS=7\n")
    settings = load({"GATEWAY_ENV_FILE": str(other)})
    assert (settings.listen.port, settings.drain_s) == (8787, 7)
    assert settings.env_file == other


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_or_pipe, "WRITER_S", 0.1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("has_begun", [False, True])
def test_a_pipe_whose_writer_does_not_come_or_end_is_no_wait_for_good(
    tmp_path: Path, has_begun: bool
) -> None:
    os.mkfifo(tmp_path / ".env")
    with ExitStack() as stack:
        if has_begun:
            writer = stack.enter_context((tmp_path / ".env").open("r+b", buffering=0))
            writer.write(b"GATEWAY_PORT=1111\n")
        assert problems({"GATEWAY_ENV_FILE": ".env"}) == [
            "GATEWAY_ENV_FILE: names a file that is a pipe, not written to the end within 10 s"
        ]


def test_a_pipe_waits_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    written = "#" * (MAX_ENV_FILE_BYTES // 2) + "\nGATEWAY_PORT=1111\n"
    with ThreadPoolExecutor(1) as threads:
        threads.submit((tmp_path / ".env").write_text, written)
        assert load({}).listen.port == 1111


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_was_read_before_is_no_order_to_take_the_defaults() -> None:
    reader, writer = os.pipe()  # what <(...) is
    with open(reader, "rb"):
        with open(writer, "wb") as file:
            file.write(b"GATEWAY_PORT=1111\n")
        environ = {"GATEWAY_ENV_FILE": f"/dev/fd/{reader}"}
        assert load(environ).listen.port == 1111
        assert len(problems(environ)) == 1


def test_quotes_comments_and_export_are_understood(write: Write) -> None:
    write("# comment\nexport GATEWAY_DEV_TENANT='acme' # who\nRUNNER_SERVICE_TOKEN=a#b\n")
    settings = load({})
    assert settings.variables.gateway_dev_tenant == "acme"
    assert settings.service_token == "a#b"


def test_a_dollar_in_a_token_is_a_dollar(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIDDEN", "leaked")
    write('RUNNER_SERVICE_TOKEN="x${HIDDEN}y"\n')
    assert load({}).service_token == "x${HIDDEN}y"


def test_every_line_that_cannot_be_read_is_reported_by_number(write: Write) -> None:
    write('GATEWAY_HOST=localhost\nGATEWAY_PORT 8080\nRUNNER_BACKEND\nGATEWAY_AUTH="dev\n')
    assert problems({}) == [
        f"GATEWAY_ENV_FILE: is not set, and .env has a line {line} that is not NAME=value"
        for line in (2, 3, 4)
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"GATEWAY_DEV_TENANT=\xff\xfe\n", "is not UTF-8 text"),
        (b"#" * (MAX_ENV_FILE_BYTES + 1), "is larger than 1 MiB"),
    ],
)
def test_a_file_of_the_wrong_kind_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert problems({}) == [f"GATEWAY_ENV_FILE: is not set, and .env {problem}"]
    named = {"GATEWAY_ENV_FILE": ".env"}
    assert problems(named) == [f"GATEWAY_ENV_FILE: names a file that {problem}"]


def test_a_byte_order_mark_does_not_hide_the_first_variable(write: Write) -> None:
    write("\ufeffGATEWAY_PORT=1111\n")
    assert load({}).listen.port == 1111


def test_problems_of_the_file_and_of_values_come_together(write: Write) -> None:
    write("nonsense\n")
    assert {line.partition(":")[0] for line in problems({"GATEWAY_PORT": "x"})} == {
        "GATEWAY_ENV_FILE",
        "GATEWAY_PORT",
    }


def test_variables_named_like_ours_that_nobody_reads_are_listed(write: Write) -> None:
    write("RUNNER_TIMEOUT=3\nGATEWAY_ENV_FILE=x\nOTHER_THING=1\n")
    environ = {"GATEWAY_PROT": "1", "EXT_GATEWAY_TIMEOUT": "1", "PATH": "/bin"}
    settings = load(environ)
    assert settings.origins["GATEWAY_ENV_FILE"] == "default"
    assert settings.unread == (
        "EXT_GATEWAY_TIMEOUT",
        "GATEWAY_ENV_FILE",
        "GATEWAY_PROT",
        "RUNNER_TIMEOUT",
    )


def test_a_misspelt_name_of_a_kind_that_others_have_too_is_listed_and_theirs_is_not(
    write: Write,
) -> None:
    write("EXT_UI_SANBOX=true\nEXT_UI_HOST_MODE=rust\n")
    environ = {
        "EXT_EGRESS_ALLOW_LIST": "x",
        "EXT_CACHE_ROOT": "/x",
        "EXT_PORT": "1",
        "EXT_UI_SANDBOX": "true",
    }
    assert load(environ).unread == ("EXT_EGRESS_ALLOW_LIST", "EXT_UI_SANBOX")


def test_a_name_of_the_file_that_is_nearly_one_of_ours_is_listed(write: Write) -> None:
    write("GATWAY_AUTH=proxy\ngateway_port=9000\nPORTS=1\nDATABASE_URL=postgres://db\n")
    assert load({"SPORT": "1", "GATWAY_PORT": "1"}).unread == ("GATWAY_AUTH", "gateway_port")


def test_what_kubernetes_writes_for_a_service_is_not_called_unread() -> None:
    environ = {
        "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "GATEWAY_SERVICE_PORT_HTTP": "80",
        "GATEWAY_PORT_80_TCP_ADDR": "10.0.0.1",
        "RUNNER_PORT": "tcp://10.0.0.1:80",
    }
    assert load(environ).unread == ()


def test_the_address_that_kubernetes_writes_into_our_port_is_explained() -> None:
    (problem,) = problems({"GATEWAY_PORT": "tcp://10.0.0.1:80"})
    assert "enableServiceLinks" in problem


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("GATEWAY_PROT", "GATEWAY_PORT"),
        ("EXT_GATEWAY_TIMEOUT", "EXT_GATEWAY_TIMEOUT_MS"),
        ("RUNNER_EXT_EGRESS_ALLOWLIST", "EXT_EGRESS_ALLOWLIST"),
        ("gateway_port", "GATEWAY_PORT"),
        ("GATWAY_AUTH", "GATEWAY_AUTH"),
    ],
)
def test_a_misspelt_name_is_told_the_likely_one(name: str, likely: str) -> None:
    assert unread_warning(name).endswith(f"Did you mean {likely}?")


@pytest.mark.parametrize("from_file", [True, False])
def test_a_key_of_the_registry_that_counts_elsewhere_is_told_what_counts_here(
    write: Write, from_file: bool
) -> None:
    write("ALGA_AUTH_KEY=hush\n" if from_file else "")
    settings = load({} if from_file else {"ALGA_AUTH_KEY": "hush"})
    assert settings.unread == ("ALGA_AUTH_KEY",)
    assert unread_warning("ALGA_AUTH_KEY") == (
        "ALGA_AUTH_KEY is not read; the registry is asked with RUNNER_CONFIG_API_TOKEN."
    )


def test_a_name_like_no_other_is_told_nothing_wrong() -> None:
    assert "mean" not in unread_warning("GATEWAY_SOMETHING_ELSE_ALTOGETHER")


def test_nothing_else_of_the_process_environment_is_kept() -> None:
    assert dict(read_sources({"PATH": "/bin", "GATEWAY_PORT": "1"}).texts) == {"GATEWAY_PORT": "1"}
