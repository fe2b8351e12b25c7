"""A file that is written anew is the old one or the new one, and leaves nothing beside it."""

import os
import stat
from pathlib import Path

import pytest

from backends.files.whole import replacing


@pytest.mark.parametrize("durable", [False, True])
def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path, durable=durable) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_was_not_finished_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def break_off() -> None:
        with replacing(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_who_may_read_it_is_said_and_not_left_to_the_umask(tmp_path: Path, mode: int) -> None:
    umask = os.umask(0o077)
    try:
        with replacing(tmp_path / "file", mode=mode):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_until_then_it_has_the_name_that_a_sweep_knows(tmp_path: Path) -> None:
    with replacing(tmp_path / "file", prefix="new-"):
        (name,) = os.listdir(tmp_path)
    assert name.startswith("new-")
