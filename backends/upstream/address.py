"""Where a runner is: what a base URL says, checked once and split into its parts."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_LABEL = "[a-z0-9_-]{1,63}"  # an empty or longer one cannot even be looked up
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?|[0-9a-f]*:[0-9a-f:.]*")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class RunnerAddress:
    """One runner's origin and the path in front of its routes."""

    origin: str  # scheme://host[:port], no default port
    base_path: str  # "" or "/like/this", percent-encoded

    @classmethod
    def parse(cls, base_url: str) -> Self:
        """Read a base URL; trailing slashes do not count.

        Raises:
            ValueError: not http(s)://host[:port][/path], or it carries credentials, a query
                or a fragment. The message never repeats the URL, which may hold a secret.

        >>> RunnerAddress.parse("http://Runner.local:80/base/")
        RunnerAddress(origin='http://runner.local', base_path='/base')
        """
        try:
            parts = urlsplit(base_url.strip())
            port = parts.port
        except ValueError:
            raise ValueError("the runner's base URL has a malformed host or port") from None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError("the runner's base URL must be http://... or https://... with a host")
        if not _HOST.fullmatch(parts.hostname):
            raise ValueError("the runner's base URL has a malformed host or port")
        if "@" in parts.netloc:
            raise ValueError("the runner's base URL must not carry credentials")
        if parts.query or parts.fragment:
            raise ValueError("the runner's base URL must have neither query nor fragment")
        base_path = parts.path.rstrip("/")
        if not _PATH.fullmatch(base_path) or ".." in base_path:
            raise ValueError("the runner's base URL has a malformed path")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
        return cls(f"{parts.scheme}://{host}{suffix}", base_path)

    @property
    def scheme(self) -> str:
        """ "http" or "https"."""
        return self.origin.partition("://")[0]

    @property
    def authority(self) -> str:
        """host[:port], as a Host field spells it."""
        return self.origin.partition("://")[2]

    @property
    def hostname(self) -> str:
        """The host alone, without the brackets of an IPv6 address."""
        return urlsplit(self.origin).hostname or ""

    @property
    def url(self) -> str:
        """Origin and base path together, safe to show: it holds no credentials."""
        return self.origin + self.base_path
