"""A token in a file that somebody else rewrites or replaces while this process runs.

A token that is read once, at start, works until it is first replaced and then fails everything.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

MAX_TOKEN_FILE_BYTES: Final = 64 * 1024

_FIELD_VALUE: Final = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*", re.ASCII)  # RFC 9110 section 5.5

_log = structlog.get_logger("token_file")


@dataclass
class TokenFile:
    """Whoever needs the token shares one of these, so that it changes for all of them at once.

    Equal when the path is: what the file holds may be another thing at any time.
    """

    path: Path
    lately: frozenset[str] = field(default=frozenset(), init=False, repr=False, compare=False)
    """The token that was read last, and the one before, with which calls may be under way."""

    def __post_init__(self) -> None:
        self._token: str | None = None
        self._seen: tuple[int, ...] | None = None
        self._complained = False

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> str | None:
        """The token as of now, or the last good one while the file cannot be read.

        None when it never could. Reads only when the file has changed, at most 64 KiB.
        Never raises.
        """
        try:
            now = os.stat(self.path)
            seen = (now.st_mtime_ns, now.st_ino, now.st_dev, now.st_size)
            if seen != self._seen:
                self._take(self._load())
                self._seen = seen
            self._complained = False
        except (OSError, ValueError) as failure:
            self._seen = None
            self._complain(type(failure).__name__)
        return self._token

    def _take(self, token: str) -> None:
        if token != self._token:
            self.lately = frozenset(each for each in (self._token, token) if each)
            self._token = token

    def _load(self) -> str:
        with self.path.open("rb") as file:
            content = file.read(MAX_TOKEN_FILE_BYTES + 1)
        if len(content) > MAX_TOKEN_FILE_BYTES:
            raise ValueError("longer than any token")
        token = content.decode("ascii").strip()
        if _FIELD_VALUE.fullmatch(token) is None:
            raise ValueError("not a header value")
        return token

    def _complain(self, reason: str) -> None:
        # Only once until the file is readable again: this runs for every request.
        if not self._complained:
            self._complained = True
            _log.warning("service_token_unreadable", path=str(self.path), reason=reason)


def token_now(said: str | TokenFile | None) -> str | None:
    """The token, whether it was said itself or which file it is in. Never raises."""
    return said.read() if isinstance(said, TokenFile) else said
