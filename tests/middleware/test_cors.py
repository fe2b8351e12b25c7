from typing import Final

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from middleware.cors import Cors, cors, stamp_cors
from middleware.guard import guarded, stamped

LISTED: Final = "https://app.example"
CONFIG: Final = Cors(allowed_origins=frozenset({LISTED}))


async def _pong(request: web.Request) -> web.Response:
    return web.Response(text="pong", headers={"Vary": request.query.get("vary", "Accept-Encoding")})


def _app(config: Cors = CONFIG) -> web.Application:
    app = web.Application(middlewares=[guarded(lambda _: (cors(lambda: config),))])
    app.on_response_prepare.append(stamped(stamp_cors(lambda: config)))
    app.router.add_route("*", "/ping", _pong)
    return app


def _preflight(origin: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "PUT"}


def _granted(headers: dict[str, str]) -> set[str]:
    return {name.lower() for name in headers if name.lower().startswith("access-control-")}


async def test_a_listed_origin_may_read_the_answer(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get("/ping", headers={"Origin": LISTED})
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    assert answer.headers["Vary"] == "Accept-Encoding, Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil"])
async def test_another_origin_gets_no_grant_but_varies(
    aiohttp_client: AiohttpClient, origin: str
) -> None:
    client = await aiohttp_client(_app())
    for answer in (
        await client.get("/ping", headers={"Origin": origin}),
        await client.options("/ping", headers=_preflight(origin)),
    ):
        assert _granted(dict(answer.headers)) == set()
        assert "Origin" in answer.headers["Vary"]


async def test_a_preflight_is_answered_at_the_door(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.options("/ping", headers=_preflight(LISTED))
    assert (answer.status, await answer.text()) == (204, "")
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "x-idempotency-key" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Max-Age"] == "120"
    assert "Access-Control-Request-Method" in answer.headers["Vary"]


async def test_credentials_are_never_granted(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.options("/ping", headers=_preflight(LISTED))
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_plain_options_is_the_handlers_to_answer(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    for headers in ({}, {"Origin": LISTED}, {"Access-Control-Request-Method": "PUT"}):
        assert await (await client.options("/ping", headers=headers)).text() == "pong"


async def test_a_refusal_can_be_read_by_the_listed_origin(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get("/nowhere", headers={"Origin": LISTED})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, LISTED)


async def test_without_a_list_answers_do_not_vary(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app(Cors()))
    answer = await client.get("/ping", headers={"Origin": LISTED})
    assert _granted(dict(answer.headers)) == set()
    assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("vary", ["*", "origin", "Accept, Origin"])
async def test_what_already_varies_is_not_repeated(
    aiohttp_client: AiohttpClient, vary: str
) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get("/ping", params={"vary": vary}, headers={"Origin": LISTED})
    assert answer.headers["Vary"] == vary
