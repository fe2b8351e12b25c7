"""The forms of variables that name a file or a folder; of a file, what it holds is looked at too.

A refusal never repeats the text, nor what a file holds.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from backends.files.token import TokenFile
from gateway.variables.forms import VISIBLE_ASCII
from gateway.variables.marks import Accepts
from gateway.variables.problems import refuse

MAX_SECRET_FILE_BYTES: Final = 64 * 1024
MAX_PEM_FILE_BYTES: Final = 4 * 1024 * 1024


def _readable(path: Path) -> Path:
    try:
        is_pipe = path.is_fifo()
        if not is_pipe:
            with path.open("rb") as file:
                file.read(1)
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or "not a file name"
        raise refuse(f"names a file that cannot be read ({reason.lower()})") from None
    if is_pipe:
        raise refuse("names a pipe, which cannot be read again on reload")
    return path


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file and what it held when it was looked at: another content is another value."""

    path: Path
    fingerprint: str

    def __str__(self) -> str:
        return str(self.path)


def read_version(text: str) -> tuple[FileVersion, bytes]:
    """The file of that name as it is now, and what it holds. Raises PydanticCustomError."""
    path = _readable(Path(text))
    with path.open("rb") as file:
        content = file.read(MAX_PEM_FILE_BYTES)
    return FileVersion(path, hashlib.sha256(content).hexdigest()), content


def _file_version(text: object) -> object:
    return read_version(text)[0] if isinstance(text, str) else text


def _secret_file(path: Path) -> Path:
    read_secret(_readable(path))
    return path


def _token_file(text: object) -> object:
    if not isinstance(text, str):
        return text
    file = TokenFile(_secret_file(Path(text)))
    file.read()  # so that what it holds is masked in logs from the start
    return file


def read_secret(path: Path) -> str:
    """The token in a file, without the white space around it.

    Raises:
        PydanticCustomError: too large, or not a token that a header field can carry.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_SECRET_FILE_BYTES + 1)
    text = content.decode("latin-1").strip()
    if len(content) > MAX_SECRET_FILE_BYTES or VISIBLE_ASCII.fullmatch(text) is None:
        raise refuse("names a file whose content is not one token")
    return text


ReadableFile = Annotated[Path, AfterValidator(_readable), Accepts("a file that can be read")]
PemFile = Annotated[
    FileVersion,
    BeforeValidator(_file_version),
    Accepts("a file that can be read; a reload sees that its content changed"),
]
SecretFile = Annotated[
    Path, AfterValidator(_secret_file), Accepts("a readable file that holds one token")
]
RenewedSecretFile = Annotated[
    TokenFile, BeforeValidator(_token_file), Accepts("a readable file that holds one token")
]
Folder = Annotated[Path, Accepts("a folder; made when missing")]
