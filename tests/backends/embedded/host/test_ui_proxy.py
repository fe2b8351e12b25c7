"""ui-proxy.call-route against a real host application."""

import asyncio
import dataclasses

import pytest
import structlog.testing

from backends.embedded.host.call import Err, Ok
from backends.embedded.host.services import HostServices
from backends.embedded.host.ui_proxy import MAX_RESPONSE_BYTES
from tests.backends.embedded.host.calls import ADA, ask, call_of
from tests.fakes.host_app import HostApp


async def call_route(services: HostServices, route: str, payload: bytes | None = None) -> object:
    return await ask(call_of(services), "ui-proxy", "call-route", route, payload)


@pytest.mark.parametrize(
    ("route", "target"),
    [
        ("/api/v1/tickets?q=a b&r=%2f", "/api/v1/tickets?q=a%20b&r=%2f"),
        ("  api/v1/tickets ", "/api/v1/tickets"),
        ("/own//route/", "/extension-1/own/route/"),
        ("/", "/extension-1/"),
        ("apiary", "/extension-1/apiary"),
        ("/api/items/a%20b/", "/api/items/a%20b/"),
        ("/api/items/a%2Fb%2520c%25", "/api/items/a%2Fb%2520c%25"),
        ("/api/50%/%zz%4", "/api/50%25/%25zz%254"),
        ("/api/a%2e%2e/\u00e9#x", "/api/a%2e%2e/%C3%A9%23x"),
        ("/%61pi/x", "/extension-1/%61pi/x"),
        ("api%2Fx", "/extension-1/api%2Fx"),
        ("/api/a\\b?", "/api/a%5Cb"),
        ("/api/a?b#c\r\nx: y", "/api/a?b%23c%0D%0Ax:%20y"),
    ],
)
async def test_a_route_stays_where_it_belongs(
    services: HostServices, host_app: HostApp, route: str, target: str
) -> None:
    assert isinstance(await call_route(services, route), Ok)
    assert host_app.seen[0].raw_path == target


@pytest.mark.parametrize(
    "route",
    [
        "", "  ", "?q=1", "/api/../admin", "/./x", "a/..", "/api/%2e%2E/admin", "/api/.%2e/admin",
        "/api/%2e%2e%2fadmin", "/api/x%2F../admin", "/api/..\\admin", "/api/%2e%2e%5Cadmin",
        "/api/x\\..", "/api/%252e%252e/admin", "/api/%%32e%252e%252fadmin", "/api/..;a/admin",
        "/api/..%3f", "/api/..#", "/api/%2525252e./admin", "%2e%2e/api/x",
    ],
)  # fmt: skip
async def test_a_route_that_climbs_or_is_empty_is_a_bad_request(
    services: HostServices, host_app: HostApp, route: str
) -> None:
    assert await call_route(services, route) == Err("bad-request")
    assert host_app.seen == []


async def test_the_application_learns_who_asks(services: HostServices, host_app: HostApp) -> None:
    call = call_of(services, user=ADA, secrets={"api_key": "key-1", "other": "unsent"})
    await ask(call, "ui-proxy", "call-route", "/api/x", None)
    sent = host_app.seen[0].headers
    ours = {name: value for name, value in sent.items() if name.startswith("x-")}
    assert ours == {
        "x-request-id": "request-1",
        "x-alga-tenant": "tenant-1",
        "x-alga-extension": "extension-1",
        "x-ext-install-id": "install-1",
        "x-ext-version-id": "version-1",
        "x-api-key": "key-1",
        "x-user-id": "user-1",
        "x-user-email": "ada@example.com",
    }
    assert "unsent" not in str(sent)


async def test_what_is_unknown_is_not_sent(services: HostServices, host_app: HostApp) -> None:
    call = call_of(services, install_id=None, version_id=None)
    await ask(call, "ui-proxy", "call-route", "/api/x", None)
    ours = {name for name in host_app.seen[0].headers if name.startswith("x-")}
    assert ours == {"x-request-id", "x-alga-tenant", "x-alga-extension"}


async def test_a_payload_is_posted_as_json_and_its_absence_is_a_get(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = b"answer"
    assert await call_route(services, "/api/x", b"") == Ok(b"answer")
    assert await call_route(services, "/api/x", None) == Ok(b"answer")
    posted, fetched = host_app.seen
    assert (posted.method, posted.headers["content-type"]) == ("POST", "application/json")
    assert (fetched.method, "content-type" in fetched.headers) == ("GET", False)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, "denied"), (403, "denied"), (429, "denied"), (404, "route-not-found"),
        (400, "bad-request"), (418, "bad-request"), (500, "internal"), (302, "internal"),
    ],
)  # fmt: skip
async def test_each_status_has_its_error(
    services: HostServices, host_app: HostApp, status: int, error: str
) -> None:
    host_app.status, host_app.headers = status, {"Location": "/api/elsewhere"}
    assert await call_route(services, "/api/x") == Err(error)
    assert len(host_app.seen) == 1  # the key is not carried along a redirect


async def test_an_answer_that_is_too_large_is_internal(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = bytes(MAX_RESPONSE_BYTES + 1)
    assert await call_route(services, "/api/x") == Err("internal")


async def test_a_header_that_cannot_be_sent_is_internal(
    services: HostServices, host_app: HostApp
) -> None:
    call = call_of(services, secrets={"api_key": "a\r\nx-runner-auth: b"})
    with structlog.testing.capture_logs() as lines:
        assert await ask(call, "ui-proxy", "call-route", "/api/x", None) == Err("internal")
    assert lines == []  # foreseen, so not a failure of the function
    assert host_app.seen == []


async def test_a_silent_application_costs_no_more_than_its_own_limit(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.may_answer.clear()
    assert services.ui_proxy is not None
    services.ui_proxy.timeout_s = 0.2
    assert await asyncio.wait_for(call_route(services, "/api/x"), 15) == Err("internal")


async def test_without_capability_or_application_there_is_no_route(
    services: HostServices, lonely_services: HostServices, host_app: HostApp
) -> None:
    ungranted = call_of(services, granted=frozenset())
    assert await ask(ungranted, "ui-proxy", "call-route", "/api/x", None) == Err("denied")
    assert await call_route(lonely_services, "/api/x") == Err("route-not-found")
    no_application = dataclasses.replace(services, ui_proxy=None)
    assert await call_route(no_application, "/api/x") == Err("route-not-found")
    assert host_app.seen == []
