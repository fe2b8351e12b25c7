from typing import Final

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from middleware.admin import AdminAuth, admin, require_admin
from middleware.errors import Forbidden, InvalidRequest, Unauthenticated
from middleware.guard import guarded
from middleware.problem_details import problem_details
from tests.middleware.wire import ask, body_of, render, status_of

TOKEN: Final = "an admin's own token"
GUARDED: Final = AdminAuth(token=TOKEN, loopback_listener=False)
OPEN: Final = AdminAuth(token=None, loopback_listener=True)

OF_PROXIES: Final = (
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X_Forwarded_For",
    "x_real_ip", "X-Real-IP", "Via", "CF-Connecting-IP", "CF-Ray", "True-Client-IP",
    "Fastly-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Original-Forwarded-For",
    "X-Envoy-External-Address", "CDN-Loop", "X-Azure-ClientIP",
)  # fmt: skip


async def _done(_request: web.Request) -> web.Response:
    return web.Response(text="done")


def _app(auth: AdminAuth) -> web.Application:
    guards = {"/gateway": [admin(lambda: auth)], "/public": []}
    selected = guarded(lambda request: guards[request.path])
    app = web.Application(middlewares=[problem_details(render), selected])
    app.router.add_route("*", "/gateway", _done)
    app.router.add_get("/public", _done)
    return app


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer  {TOKEN}"},
        {"X-Gateway-Admin-Token": TOKEN},
        {"X-Gateway-Admin-Token": TOKEN, "Authorization": "Basic dTpw"},
    ],
)
async def test_the_token_opens(aiohttp_client: AiohttpClient, headers: dict[str, str]) -> None:
    client = await aiohttp_client(_app(GUARDED))
    assert (await client.get("/gateway", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing_admin_token"),
        ({"Authorization": f"Basic {TOKEN}"}, "missing_admin_token"),
        ({"Authorization": "Bearer "}, "wrong_admin_token"),
        ({"Authorization": f"Bearer {TOKEN}x"}, "wrong_admin_token"),
        ({"X-Gateway-Admin-Token": TOKEN[:-1]}, "wrong_admin_token"),
    ],
)
async def test_anything_else_does_not(
    aiohttp_client: AiohttpClient, headers: dict[str, str], reason: str
) -> None:
    client = await aiohttp_client(_app(GUARDED))
    answer = await client.get("/gateway", headers=headers)
    assert (answer.status, await answer.text()) == (401, reason)


def test_a_refusal_says_how_to_authenticate() -> None:
    with pytest.raises(Unauthenticated) as caught:
        require_admin(GUARDED, make_mocked_request("GET", "/gateway"))
    assert caught.value.challenge.startswith("Bearer ")


def test_two_tokens_are_one_too_many() -> None:
    both = CIMultiDict([("X-Gateway-Admin-Token", TOKEN), ("Authorization", f"Bearer {TOKEN}")])
    with pytest.raises(InvalidRequest):
        require_admin(GUARDED, make_mocked_request("GET", "/gateway", both))


def test_a_token_is_never_shown() -> None:
    assert TOKEN not in repr(GUARDED)


async def test_other_routes_need_no_admin(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app(GUARDED))
    assert (await client.get("/public")).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        ("Host: localhost:8787",),
        ("Host: 127.0.0.1",),
        ("Host: [::1]:8787",),
        ("Host: gateway.localhost:8787",),
        ("Host: localhost:8787", "Origin: http://localhost:8787", "Sec-Fetch-Site: same-origin"),
        ("Host: localhost:8787", "Sec-Fetch-Site: none"),
        ("Host: localhost", "X-Request-Id: r", "User-Agent: curl", "Accept: */*", "Viable: yes"),
    ],
)
async def test_without_a_token_this_machine_may(
    aiohttp_server: AiohttpServer, fields: tuple[str, ...]
) -> None:
    server = await aiohttp_server(_app(OPEN))
    answer = await ask(server, "POST /gateway HTTP/1.1", "Connection: close", *fields)
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("Host: rebound.example:8787",), b"admin_host_not_loopback"),
        (("Host: localhost.example",), b"admin_host_not_loopback"),
        (("Host: 192.0.2.1",), b"admin_host_not_loopback"),
        (("Host: [",), b"admin_host_not_loopback"),
        (("Host: localhost", "Sec-Fetch-Site: cross-site"), b"admin_cross_site"),
        (("Host: localhost:8787", "Origin: http://localhost:3000"), b"admin_cross_site"),
        (("Host: localhost:8787", "Origin: null"), b"admin_cross_site"),
        *(
            (("Host: localhost", f"{field}: 192.0.2.1"), b"admin_through_proxy")
            for field in OF_PROXIES
        ),
    ],
)
async def test_without_a_token_a_web_page_or_a_tunnel_may_not(
    aiohttp_server: AiohttpServer, fields: tuple[str, ...], reason: bytes
) -> None:
    server = await aiohttp_server(_app(OPEN))
    answer = await ask(server, "POST /gateway HTTP/1.1", "Connection: close", *fields)
    assert (status_of(answer), body_of(answer)) == (403, reason)


def test_without_a_token_another_machine_may_not() -> None:
    here = make_mocked_request("GET", "/gateway", {"Host": "localhost"})
    require_admin(OPEN, here.clone(remote="127.0.0.1"))
    with pytest.raises(Forbidden):
        require_admin(OPEN, here.clone(remote="192.0.2.1"))


async def test_without_a_token_a_listener_for_others_stays_shut(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(_app(AdminAuth(token=None, loopback_listener=False)))
    answer = await client.get("/gateway")
    assert (answer.status, await answer.text()) == (403, "admin_token_not_configured")
