"""A token file is someone else's to renew, and never this program's to show."""

import os
from pathlib import Path

import pytest

from backends.errors import RunnerUnreachable
from backends.files.bearer_token import BearerToken


def replace_behind_link(folder: Path, name: str, token: str) -> None:
    """What a kubelet does: write a new file, then move the link onto it."""
    (folder / name).write_text(token)
    (folder / "next").symlink_to(name)
    (folder / "next").replace(folder / "token")


def test_a_renewed_token_is_used_from_the_next_call_on(tmp_path: Path) -> None:
    replace_behind_link(tmp_path, "first", "one\n")
    token = BearerToken(tmp_path / "token")
    assert token.read() == "one"
    replace_behind_link(tmp_path, "second", "two\n")
    assert token.read() == "two"


def test_a_token_rewritten_in_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = BearerToken(path)
    token.read()
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert token.read() == "two"


@pytest.mark.parametrize(
    "content", [b"", b"two words", b"a\nb", b"caf\xc3\xa9", b"x" * 20_000, b"a\x00"]
)
def test_what_is_no_token_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(RunnerUnreachable, match="token_unreadable"):
        BearerToken(path).read()


def test_a_missing_file_is_unreadable_until_it_is_there(tmp_path: Path) -> None:
    token = BearerToken(tmp_path / "token")
    with pytest.raises(RunnerUnreachable, match="token_unreadable") as caught:
        token.read()
    assert caught.value.__suppress_context__
    (tmp_path / "token").write_text("one")
    assert token.read() == "one"


def test_a_file_that_went_away_takes_its_token_along(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = BearerToken(path)
    token.read()
    path.unlink()
    with pytest.raises(RunnerUnreachable):
        token.read()


def test_the_token_is_in_no_repr(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret")
    token = BearerToken(path)
    token.read()
    assert "s3cret" not in repr(token)
