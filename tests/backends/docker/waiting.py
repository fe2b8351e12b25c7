"""How tests wait for what a backend notices by itself."""

from collections.abc import Awaitable, Callable

from backends.docker_discovered import DiscoveredDockerBackend
from backends.docker_engine.watch import Snapshot

OpenBackend = Callable[..., Awaitable[DiscoveredDockerBackend]]


async def noticed(backend: DiscoveredDockerBackend, wanted: Callable[[Snapshot], bool]) -> None:
    """Wait for a snapshot like that."""
    assert await backend._watch.wait_until(wanted, within_s=10)
