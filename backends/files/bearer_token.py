"""A bearer token in a file that someone else keeps fresh."""

import os
import re
from pathlib import Path
from typing import Final

from backends.errors import RunnerUnreachable

_MAX_BYTES: Final = 16 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1


class BearerToken:
    """Reads a token again whenever its file has changed.

    A projected service account token is replaced behind a symbolic link long before it
    expires, so what was read at start is worthless an hour later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._token = ""

    def __repr__(self) -> str:
        return f"BearerToken({str(self._path)!r})"

    def read(self) -> str:
        """The token as it is now.

        Raises:
            RunnerUnreachable: "token_unreadable": no such file, no permission, too large, or
                not a token.
        """
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                version = (found.st_ino, found.st_mtime_ns, found.st_size)
                if version != self._version:
                    self._token = _checked(file.read(_MAX_BYTES + 1))
                    self._version = version
        except (OSError, ValueError):
            raise RunnerUnreachable("token_unreadable") from None
        return self._token


def _checked(raw: bytes) -> str:
    token = raw.decode("ascii").strip()
    if len(raw) > _MAX_BYTES or not _TOKEN.fullmatch(token):
        raise ValueError("not a bearer token")
    return token
