"""What every check is given: the settings as a started gateway would have them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from backends.settings import DockerSettings, EmbeddedSettings, KnativeSettings
from gateway.doctor.findings import Finding
from gateway.settings import Settings
from middleware.caller import DevAuth


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Usable settings, and where they came from."""

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    app_dir: Path | None  # the Next.js app; None: here, if this is one

    @property
    def in_development(self) -> bool:
        """Whether every caller is trusted, which only a developer's machine may do."""
        return isinstance(self.settings.auth, DevAuth)

    @property
    def runner_url(self) -> str | None:
        """Where the runner is, as far as the settings say it themselves."""
        match self.settings.backend:
            case KnativeSettings(base_url=url):
                return url
            case DockerSettings(host_url=url, fallback_url=fallback):
                return url or fallback
            case EmbeddedSettings():
                return None

    @property
    def listener(self) -> tuple[str, int]:
        """Where this machine finds the gateway."""
        listen = self.settings.listen
        nearest = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        return nearest.get(listen.host, listen.host), listen.port


Check = Callable[[Case], Awaitable[Sequence[Finding]]]
"""Looks at one thing. May take its time, for each has a deadline; raises nothing expected."""


def shown_address(url: str) -> str:
    """An address without its path, for a line of the report.

    >>> shown_address("http://runner.example:8080/base")
    'http://runner.example:8080'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
