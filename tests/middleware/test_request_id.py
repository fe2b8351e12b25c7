import re
import uuid

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.web_protocol import RequestHandler
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from middleware.guard import stamped
from middleware.request_id import request_id_of, stamp_request_id
from tests.middleware.wire import ask, body_of


async def _shown(request: web.Request) -> web.Response:
    return web.Response(text=request_id_of(request))


def _app() -> web.Application:
    app = web.Application()
    app.on_response_prepare.append(stamped(stamp_request_id))
    app.router.add_get("/", _shown)
    return app


async def test_the_clients_own_id_is_kept_and_returned(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get("/", headers={"x-request-id": "abc:1.2_3-4"})
    assert answer.headers["x-request-id"] == "abc:1.2_3-4"
    assert await answer.text() == "abc:1.2_3-4"


@pytest.mark.parametrize("value", ["", "a b", "a" * 129, "ümlaut", "a,b", '"quoted"'])
async def test_an_id_that_could_not_be_logged_safely_is_replaced(
    aiohttp_client: AiohttpClient, value: str
) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get("/", headers={"x-request-id": value})
    assert uuid.UUID(answer.headers["x-request-id"]).version == 8
    assert await answer.text() == answer.headers["x-request-id"]


async def test_of_two_ids_neither_is_believed(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    twice = CIMultiDict([("x-request-id", "one"), ("x-request-id", "two")])
    answer = await client.get("/", headers=twice)
    assert uuid.UUID(answer.headers["x-request-id"]).version == 8


async def test_an_answer_to_an_unknown_route_is_named_too(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app())
    answer = await client.get("/nowhere", headers={"x-request-id": "lost"})
    assert (answer.status, answer.headers["x-request-id"]) == (404, "lost")


async def test_what_the_parser_refuses_gets_a_name_too(
    aiohttp_server: AiohttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object, request: web.BaseRequest, *_details: object) -> web.Response:
        return web.Response(status=400, text=request_id_of(request))

    monkeypatch.setattr(RequestHandler, "handle_error", refuse)
    server = await aiohttp_server(_app())
    answer = await ask(server, "GARBAGE")
    assert uuid.UUID(body_of(answer).decode()).version == 8


@given(st.text(min_size=1, max_size=140))
def test_whatever_is_sent_the_id_fits_a_log_line(value: str) -> None:
    chosen = request_id_of(make_mocked_request("GET", "/", {"x-request-id": value}))
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", chosen, re.ASCII)
