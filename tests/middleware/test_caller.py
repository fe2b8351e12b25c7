import base64
from typing import Final

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pytest_aiohttp.plugin import AiohttpClient

from backends.contract import User
from middleware.caller import CALLER, Auth, DevAuth, ProxyAuth, caller, identify
from middleware.errors import InvalidRequest, TenantMismatch, Unauthenticated
from middleware.guard import guarded
from middleware.problem_details import problem_details
from middleware.user_header import parse_user
from tests.middleware.wire import render

KEY: Final = "correct horse battery staple"
PROXY: Final = ProxyAuth(KEY)
PERSON: Final[dict[str, object]] = {
    "user_id": "u1",
    "user_email": "ada@example.com",
    "user_name": "Ada",
    "user_type": "internal",
}


def _sent(**fields: str) -> CIMultiDict[str]:
    return CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})


def _encoded(document: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(document)).decode().rstrip("=")


def test_the_application_says_which_tenant_calls() -> None:
    known = identify(PROXY, _sent(x_gateway_key=KEY, x_alga_tenant="acme"))
    assert (known.tenant_id, known.user, known.via) == ("acme", None, "proxy")


def test_the_application_may_say_which_person_calls() -> None:
    document = {**PERSON, "client_id": "c1", "additional_fields": {"locale": "de"}}
    headers = _sent(x_gateway_key=KEY, x_alga_tenant="acme", x_gateway_user=_encoded(document))
    assert identify(PROXY, headers).user == User(
        user_id="u1",
        user_email="ada@example.com",
        user_name="Ada",
        user_type="internal",
        client_id="c1",
        additional_fields={"locale": "de"},
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"x_alga_tenant": "acme"}, "missing_key"),
        ({"x_alga_tenant": "acme", "x_gateway_key": KEY + "r"}, "wrong_key"),
        ({"x_alga_tenant": "acme", "x_gateway_key": ""}, "wrong_key"),
        ({"x_alga_tenant": "acme", "x_gateway_key": "\udcff"}, "wrong_key"),
        ({"x_gateway_key": KEY}, "missing_tenant"),
        ({"x_gateway_key": KEY, "x_alga_tenant": ""}, "missing_tenant"),
    ],
)
def test_without_the_key_and_a_tenant_nobody_is_known(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        identify(PROXY, _sent(**fields))
    assert caught.value.reason == reason
    assert caught.value.challenge


@pytest.mark.parametrize("tenant", ["a b", "a/b", "ü", "a" * 129, "a\n"])
def test_a_tenant_that_is_no_id_is_refused(tenant: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        identify(PROXY, _sent(x_gateway_key=KEY, x_alga_tenant=tenant))
    assert (caught.value.reason, caught.value.field) == ("invalid_tenant", "x-alga-tenant")


def test_one_call_cannot_name_two_tenants() -> None:
    headers = _sent(x_gateway_key=KEY, x_alga_tenant="acme", x_tenant_id="umbrella")
    with pytest.raises(TenantMismatch):
        identify(PROXY, headers)


def test_naming_the_same_tenant_twice_over_is_no_mismatch() -> None:
    headers = _sent(x_gateway_key=KEY, x_alga_tenant="acme", x_tenant_id="acme")
    assert identify(PROXY, headers).tenant_id == "acme"


@pytest.mark.parametrize(
    "name", ["x-gateway-key", "x-alga-tenant", "x-tenant-id", "x-gateway-user"]
)
def test_a_field_that_decides_must_come_once(name: str) -> None:
    headers = _sent(
        x_gateway_key=KEY, x_alga_tenant="acme", x_tenant_id="acme", x_gateway_user=_encoded(PERSON)
    )
    headers.add(name, headers[name])
    with pytest.raises(InvalidRequest) as caught:
        identify(PROXY, headers)
    assert (caught.value.reason, caught.value.field) == ("repeated_header", name)


@pytest.mark.parametrize("name", ["x_alga_tenant", "x_tenant_id"])
def test_in_dev_mode_no_other_tenant_passes(name: str) -> None:
    assert identify(DevAuth("dev"), _sent(**{name: "dev"})).tenant_id == "dev"
    with pytest.raises(TenantMismatch):
        identify(DevAuth("dev"), _sent(**{name: "acme"}))


def test_a_key_is_never_shown() -> None:
    assert KEY not in repr(PROXY)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "user_id"),
        ({**PERSON, "user_email": None}, "user_email"),
        ({**PERSON, "user_type": 1}, "user_type"),
        ({**PERSON, "client_name": None}, "client_name"),
        ({**PERSON, "client_id": 7}, "client_id"),
        ({**PERSON, "additional_fields": []}, "additional_fields"),
        ({**PERSON, "additional_fields": {"a": 1}}, "additional_fields"),
        ({**PERSON, "client_name": "a", "company_name": "a"}, "company_name"),
        ({**PERSON, "is_admin": "yes"}, "unknown_member"),
        ([PERSON], None),
        ("x", None),
    ],
)
def test_a_user_that_the_runner_would_refuse_is_refused(document: object, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_user(_encoded(document))
    assert (caught.value.reason, caught.value.field) == ("invalid_user", field)


@pytest.mark.parametrize("encoded", ["", "!", "a", "eyJ", "\udcff", "e30 ", "é"])
def test_an_unreadable_user_is_refused_without_quoting_it(encoded: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_user(encoded)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_user_header_is_bounded_and_strictly_base64url() -> None:
    longest = _encoded({**PERSON, "client_name": "x" * 5900})
    assert parse_user(longest).user_id == "u1"
    for encoded in (
        _encoded({**PERSON, "client_name": "x" * 6200}),
        f"{longest[:8]}    {longest[8:]}",
    ):
        with pytest.raises(InvalidRequest):
            parse_user(encoded)


def test_the_older_name_of_the_client_name_is_understood() -> None:
    assert parse_user(_encoded({**PERSON, "company_name": "Acme"})).client_name == "Acme"


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()))
def test_no_user_header_breaks_the_door(encoded: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_user(encoded)


def _app(auth: Auth) -> web.Application:
    async def who(request: web.Request) -> web.Response:
        known = request.get(CALLER)
        return web.Response(text="nobody" if known is None else known.tenant_id)

    guards = {
        "/private": [caller(lambda: auth, required=True)],
        "/public": [caller(lambda: auth, required=False)],
        "/other": [],
    }
    selected = guarded(lambda request: guards[request.path])
    app = web.Application(middlewares=[problem_details(render), selected])
    app.router.add_get("/private", who)
    app.router.add_route("*", "/public", who)
    app.router.add_get("/other", who)
    return app


@pytest.mark.parametrize(
    ("path", "key", "status", "text"),
    [
        ("/private", KEY, 200, "acme"),
        ("/private", None, 401, "missing_key"),
        ("/private", "wrong", 401, "wrong_key"),
        ("/public", KEY, 200, "acme"),
        ("/public", None, 200, "nobody"),
        ("/public", "wrong", 401, "wrong_key"),
    ],
)
async def test_a_public_route_knows_its_caller_when_there_is_one(
    aiohttp_client: AiohttpClient, path: str, key: str | None, status: int, text: str
) -> None:
    client = await aiohttp_client(_app(PROXY))
    headers = {"x-alga-tenant": "acme"} | ({} if key is None else {"x-gateway-key": key})
    answer = await client.get(path, headers=headers)
    assert (answer.status, await answer.text()) == (status, text)


async def test_a_route_that_takes_no_caller_does_not_look_for_one(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(_app(PROXY))
    answer = await client.get("/other", headers={"x-gateway-key": "wrong"})
    assert (answer.status, await answer.text()) == (200, "nobody")


async def test_in_dev_mode_everybody_is_known(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app(DevAuth("dev")))
    assert await (await client.get("/public")).text() == "dev"


DEV: Final = DevAuth("dev", hosts=frozenset({"app.test"}), origins=frozenset({"https://app.test"}))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8787"},
        {"Host": "LOCALHOST"},
        {"Host": "127.0.0.1:8787"},
        {"Host": "127.9.9.9"},
        {"Host": "[::1]:8787"},
        {"Host": "ext.localhost"},
        {"Host": "app.test:8787"},
        # A development server in front, opened at an address of the local network.
        {"Host": "127.0.0.1:8787", "X-Forwarded-Host": "192.0.2.1:3000"},
        {"Host": "localhost", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost", "Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
        {"Host": "localhost", "Sec-Fetch-Site": "none"},
        {"Host": "localhost", "Sec-Fetch-Site": "cross-site", "Origin": "https://app.test"},
    ],
    ids=str,
)
async def test_in_dev_mode_the_developer_may_do_anything(
    aiohttp_client: AiohttpClient, headers: dict[str, str]
) -> None:
    client = await aiohttp_client(_app(DEV))
    for method in ("GET", "POST", "DELETE"):
        answer = await client.request(method, "/public", headers=headers)
        assert (answer.status, await answer.text()) == (200, "dev")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8787", "localhost.evil.example", "192.0.2.1", "[::2]"]
)
async def test_in_dev_mode_no_other_name_leads_here(
    aiohttp_client: AiohttpClient, host: str
) -> None:
    client = await aiohttp_client(_app(DEV))
    answer = await client.get("/public", headers={"Host": host, "Sec-Fetch-Site": "same-origin"})
    assert (answer.status, await answer.text()) == (403, "dev_host_not_loopback")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
async def test_in_dev_mode_a_page_of_another_site_changes_nothing(
    aiohttp_client: AiohttpClient, origin: str | None
) -> None:
    client = await aiohttp_client(_app(DEV))
    headers = {"Host": "localhost", "Sec-Fetch-Site": "cross-site"}
    if origin is not None:
        headers["Origin"] = origin
    answer = await client.post("/public", headers=headers, data="text")
    assert (answer.status, await answer.text()) == (403, "dev_cross_site")
    # An image, a link, a frame: browsers ask for those without more ado.
    assert (await client.get("/public", headers=headers)).status == 200


@pytest.mark.parametrize("tenant", [".", "..", "...", "a/b", "a" * 129])
def test_a_name_that_is_a_place_in_a_path_is_no_tenant(tenant: str) -> None:
    headers = CIMultiDict({"x-gateway-key": KEY, "x-alga-tenant": tenant})
    with pytest.raises(InvalidRequest):
        identify(ProxyAuth(KEY), headers)
