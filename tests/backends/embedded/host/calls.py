"""Builds the calls that tests make, and makes them as the engine does: from another thread."""

import asyncio
import time
from collections.abc import Mapping

from backends.contract import ExecuteContext, ExecuteRequest, Limits, User
from backends.embedded.host.call import Call
from backends.embedded.host.services import HostServices
from backends.embedded.host.table import HOST_FUNCTIONS

EVERYTHING = frozenset({
    "cap:context.read", "cap:secrets.get", "cap:http.fetch", "cap:storage.kv", "cap:log.emit",
    "cap:ui.proxy", "cap:user.read", "cap:scheduler.manage", "cap:invoice.manual.create",
    "cap:client.read", "cap:service.read",
})  # fmt: skip

ADA = User(
    user_id="user-1",
    user_email="ada@example.com",
    user_name="Ada",
    user_type="internal",
    client_name="Analytical Engines",
    client_id="client-1",
    additional_fields={"team": "blue"},
)


def call_of(
    services: HostServices,
    *,
    granted: frozenset[str] = EVERYTHING,
    tenant_id: str = "tenant-1",
    install_id: str | None = "install-1",
    version_id: str | None = "version-1",
    user: User | None = None,
    secrets: Mapping[str, str] | None = None,
    within_s: float = 20.0,
) -> Call:
    context = ExecuteContext(
        tenant_id=tenant_id,
        extension_id="extension-1",
        content_hash="sha256:" + "a" * 64,
        install_id=install_id,
        version_id=version_id,
    )
    request = ExecuteRequest(
        request_id="request-1",
        context=context,
        method="GET",
        path="/",
        limits=Limits(timeout_ms=20_000),
        timeout_s=20.0,
        user=user,
    )
    return Call(request, granted, time.monotonic() + within_s, services, secrets)


async def ask(call: Call, interface: str, function: str, *args: object) -> object:
    return await asyncio.to_thread(HOST_FUNCTIONS[interface][function], call, *args)
