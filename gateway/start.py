"""Starts what the settings ask for: one serving process, or a supervisor of several."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway import asking_signals
from gateway.lean_structlog import load_structlog

if TYPE_CHECKING:
    from gateway.settings import Settings


def load_and_start(environ: Mapping[str, str]) -> int:
    """Blocks until the gateway was stopped; returns the exit status.

    Raises:
        SettingsError: nothing was started.
    """
    asking_signals.remember()
    load_structlog()  # before anything else does
    from gateway.settings import load

    return start(load(environ), environ)


def start(settings: "Settings", environ: Mapping[str, str]) -> int:
    """Blocks until the gateway was stopped; returns the exit status."""
    if settings.listen.workers > 1:
        # A supervisor serves nothing itself, so it does not load what serves.
        from gateway.supervisor.main import supervise

        return supervise(settings, environ)
    from gateway.serve import serve

    return serve(settings, environ)
