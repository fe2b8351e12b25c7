"""From the settings to the backend that they ask for, guest processes of ours included."""

from backends.contract import RunnerBackend
from backends.factory import open_backend
from gateway.guest_start import starter
from gateway.settings import Settings


async def backend_of(settings: Settings) -> RunnerBackend:
    """Open it; see open_backend."""
    return await open_backend(settings.backend, starter(settings))
