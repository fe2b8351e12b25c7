"""A runner in a container comes and goes; the backend finds it again by itself."""

import pytest

from backends.contract import Readiness
from backends.docker import open_docker
from backends.errors import RunnerUnreachable
from backends.settings import DockerSettings
from tests.backends.calls import execute_request
from tests.fakes.runner import FakeRunner


async def test_a_container_that_was_restarted_is_used_again() -> None:
    async with FakeRunner() as runner:
        backend = await open_docker(DockerSettings(host_url=runner.url))
        await backend.execute(execute_request())
        await runner.stop()
        with pytest.raises(RunnerUnreachable, match="connection_refused"):
            await backend.execute(execute_request())
        assert (await backend.health()).readiness is Readiness.DOWN
        await runner.start()
        assert (await backend.execute(execute_request())).status == 200
        assert (await backend.health()).readiness is Readiness.READY
        await backend.aclose()


async def test_two_backends_share_no_connection() -> None:
    async with FakeRunner() as runner:
        for _ in range(2):
            backend = await open_docker(DockerSettings(host_url=runner.url))
            await backend.execute(execute_request())
            await backend.aclose()
        assert runner.connections == 2


@pytest.mark.parametrize("host_url", ["", "unix:///var/run/docker.sock", "http://a:s3cret@b"])
async def test_an_address_that_is_none_is_refused_when_opened(host_url: str) -> None:
    with pytest.raises(ValueError, match="the runner's base URL") as caught:
        await open_docker(DockerSettings(host_url=host_url))
    assert "s3cret" not in str(caught.value)


async def test_an_operator_sees_the_address_and_the_connections() -> None:
    async with FakeRunner() as runner:
        backend = await open_docker(DockerSettings(host_url=f"{runner.url}/"))
        await backend.execute(execute_request())
        seen = await backend.metadata()
        await backend.aclose()
        assert backend.identity.name == runner.url
        assert seen["base_url"] == runner.url
        assert seen["connections"] == {"in_flight": 0, "idle": 1, "opened": 1, "reused": 0}
