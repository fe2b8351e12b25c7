"""A token that is renewed in its file is the new one for everybody, and at once."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backends.files.token import MAX_TOKEN_FILE_BYTES, TokenFile, token_now


def test_a_token_is_read_without_the_newline_around_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    assert TokenFile(path).read() == "one"


def test_a_rewritten_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    file = TokenFile(path)
    assert file.read() == "one"
    path.write_text("second")
    assert file.read() == "second"


def test_a_file_swapped_by_its_link_is_read_again(tmp_path: Path) -> None:
    # Same length and same times: only the inode tells. This is how projected tokens rotate.
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    link = tmp_path / "token"
    link.symlink_to("old")
    file = TokenFile(link)
    assert file.read() == "old"
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(link)
    assert file.read() == "new"


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"two\nlines", b"nul\0", b"\xff", b"x" * (MAX_TOKEN_FILE_BYTES + 1)]
)
def test_what_cannot_be_a_token_does_not_replace_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_text("good")
    file = TokenFile(path)
    assert file.read() == "good"
    path.write_bytes(content)
    assert file.read() == "good"


def test_an_unreadable_file_is_reported_once_until_it_is_readable_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    file = TokenFile(path)
    with capture_logs() as logs:
        assert (file.read(), file.read()) == (None, None)
        path.write_text("good")
        assert file.read() == "good"
        path.unlink()
        assert (file.read(), file.read()) == ("good", "good")
    assert [line["event"] for line in logs] == ["service_token_unreadable"] * 2
    assert "good" not in str(logs)


def test_what_is_masked_in_logs_is_the_token_of_now_and_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "token"
    file = TokenFile(path)
    for token in ("first", "second", "third"):
        path.write_text(token)
        file.read()
    assert file.lately == {"second", "third"}


def test_equal_files_are_those_of_one_path_and_a_token_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hidden")
    file = TokenFile(path)
    file.read()
    assert file == TokenFile(path)
    assert file != TokenFile(tmp_path / "other")
    assert "hidden" not in repr(file)


def test_a_token_may_be_said_itself() -> None:
    assert (token_now("plain"), token_now(None)) == ("plain", None)
