"""The token by which a runner knows the gateway, fetched anew for every request.

Projected tokens rotate while the process runs: a token read once at start works until the
first rotation and then fails everything.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from middleware.guard import Guard
from middleware.source import Source

MAX_TOKEN_FILE_BYTES: Final = 64 * 1024

_FIELD_VALUE: Final = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*", re.ASCII)  # RFC 9110 section 5.5

SERVICE_TOKEN: web.RequestKey[str | None] = web.RequestKey("service_token")
"""What to send as x-runner-service-token with this request; None: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAuth:
    """A token, or a file that holds one; the file wins when both are given."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None


class TokenFile:
    """A token in a file that somebody else rewrites or replaces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log: FilteringBoundLogger = structlog.get_logger("service_auth")
        self._token: str | None = None
        self._seen: tuple[int, ...] | None = None
        self._complained = False

    def read(self) -> str | None:
        """The token as of now, or the last good one while the file cannot be read.

        None when it never could. Reads only when the file has changed, at most 64 KiB.
        Never raises.
        """
        try:
            now = os.stat(self.path)
            seen = (now.st_mtime_ns, now.st_ino, now.st_dev, now.st_size)
            if seen != self._seen:
                self._token = self._load()
                self._seen = seen
            self._complained = False
        except (OSError, ValueError) as failure:
            self._seen = None
            self._complain(type(failure).__name__)
        return self._token

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
            self._log.warning("service_token_unreadable", path=str(self.path), reason=reason)


def service_auth(source: Source[ServiceAuth]) -> Guard:
    """Set SERVICE_TOKEN on every request."""
    file: TokenFile | None = None

    def inject(request: web.Request) -> None:
        nonlocal file
        config = source()
        if config.token_file is None:
            request[SERVICE_TOKEN] = config.token
        else:
            if file is None or file.path != config.token_file:
                file = TokenFile(config.token_file)
            request[SERVICE_TOKEN] = file.read()

    return inject
