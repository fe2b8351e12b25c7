"""Starts what the settings ask for: one serving process, or a supervisor of several."""

from collections.abc import Mapping

from gateway.logs.lean_structlog import load_structlog
from gateway.process import asking_signals


def load_and_start(environ: Mapping[str, str]) -> int:
    """Serve until the gateway is stopped. Blocks; returns the exit status.

    Raises:
        SettingsError: nothing was started.
    """
    asking_signals.remember()
    load_structlog()  # before anything else does
    from gateway.settings import load

    settings = load(environ)
    if settings.listen.workers > 1:
        # A supervisor serves nothing itself, so it does not load what serves.
        from gateway.supervisor.main import supervise

        return supervise(settings, environ)
    from gateway.process.serve import serve

    return serve(settings, environ)
