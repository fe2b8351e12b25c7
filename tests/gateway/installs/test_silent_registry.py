"""A registry whose address swallows the first packet.

No loopback address does that, so this one fault cannot be staged by a real server.
"""

import pytest
from aiohttp import ConnectionTimeoutError
from aioresponses import aioresponses

from gateway.installs.contract import RegistryUnavailable
from gateway.installs.http import RegistryInstalls

REGISTRY = "http://registry.invalid"


async def test_a_registry_that_never_accepts_is_unavailable_and_not_an_uninstall() -> None:
    installs = RegistryInstalls(REGISTRY, token="t")
    with aioresponses() as network:
        network.post(
            f"{REGISTRY}/api/internal/ext-runner/install-config",
            exception=ConnectionTimeoutError("silent"),
            repeat=True,
        )
        for _ in range(2):  # the failure is not remembered as an answer
            with pytest.raises(RegistryUnavailable) as caught:
                await installs.resolve("tenant-1", "acme.crm")
            assert caught.value.retry_after_s >= 1
    await installs.aclose()
