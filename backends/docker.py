"""A runner in a container: at the address that was given, or found by its compose labels."""

from backends.contract import BackendIdentity, BackendKind
from backends.docker_discovered import DiscoveredDockerBackend
from backends.remote import RemoteBackend
from backends.settings import DockerSettings
from backends.upstream.address import RunnerAddress
from backends.upstream.open import open_transport
from backends.upstream.runner_client import RunnerClient


class DockerBackend(RemoteBackend):
    """The runner protocol over plain HTTP, with no credentials of its own."""

    def __init__(
        self, client: RunnerClient, settings: DockerSettings, address: RunnerAddress, *, why: str
    ) -> None:
        super().__init__(
            client,
            BackendIdentity(kind=BackendKind.DOCKER, name=address.origin),
            public_base=settings.public_url or settings.public_base,
            facts={"why": why},
        )


async def open_docker(settings: DockerSettings) -> DockerBackend | DiscoveredDockerBackend:
    """A backend at the given address, else at the containers that are found.

    With a fallback address and no container of the service in sight, that address it is, for
    as long as this backend lives.

    Raises:
        ValueError: the URL is no base URL of a runner.
    """

    def open_client(address: RunnerAddress) -> RunnerClient:
        return RunnerClient(
            open_transport(address),
            address,
            public_base=settings.public_base,
            timeouts=settings.timeouts,
        )

    if settings.host_url is not None:
        given = RunnerAddress.parse(settings.host_url)
        return DockerBackend(open_client(given), settings, given, why="given")
    fallback = None if settings.fallback_url is None else RunnerAddress.parse(settings.fallback_url)
    discovered = DiscoveredDockerBackend(settings, open_client)
    await discovered.start()
    if fallback is None or not discovered.snapshot.is_empty:
        return discovered
    await discovered.aclose()
    return DockerBackend(open_client(fallback), settings, fallback, why="fallback")
