"""The policy that takes an extension's page its origin."""

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from middleware.guard import stamped
from middleware.isolation import EXTENSION_FILE, Isolation, stamp_isolation

SANDBOX = "sandbox allow-scripts allow-forms allow-popups"


async def _page(request: web.Request) -> web.Response:
    request[EXTENSION_FILE] = True
    return await _elsewhere(request)


async def _elsewhere(_request: web.Request) -> web.Response:
    return web.Response(
        text="<svg/>",
        content_type="image/svg+xml",
        headers={"Content-Security-Policy": "default-src 'self'"},
    )


async def _streamed(request: web.Request) -> web.StreamResponse:
    request[EXTENSION_FILE] = True
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write_eof()
    return response


async def _readable_by_one(request: web.Request) -> web.Response:
    request[EXTENSION_FILE] = True
    return web.Response(headers={"Access-Control-Allow-Origin": "https://app.example"})


def _app(isolation: Isolation) -> web.Application:
    app = web.Application()
    app.on_response_prepare.append(stamped(stamp_isolation(lambda: isolation)))
    app.router.add_get("/ui/page", _page)
    app.router.add_get("/ui/streamed", _streamed)
    app.router.add_get("/ui/readable", _readable_by_one)
    app.router.add_get("/elsewhere", _elsewhere)
    return app


@pytest.mark.parametrize(
    ("isolation", "policy"),
    [
        (Isolation(), ""),
        (Isolation(sandbox=True), SANDBOX),
        (Isolation(frame_ancestors="'self'"), "frame-ancestors 'self'"),
        (
            Isolation(sandbox=True, frame_ancestors="'self' https://app.example"),
            f"{SANDBOX}; frame-ancestors 'self' https://app.example",
        ),
    ],
)
def test_the_policy_says_what_is_wanted_and_no_more(isolation: Isolation, policy: str) -> None:
    assert isolation.policy == policy


async def test_the_policy_stands_beside_the_runners_own(aiohttp_client: AiohttpClient) -> None:
    answer = await (await aiohttp_client(_app(Isolation(sandbox=True)))).get("/ui/page")
    assert answer.headers.getall("Content-Security-Policy") == ["default-src 'self'", SANDBOX]


@pytest.mark.parametrize("path", ["/ui/page", "/ui/streamed"])
async def test_every_file_is_a_strangers_to_the_page_and_readable_all_the_same(
    aiohttp_client: AiohttpClient, path: str
) -> None:
    answer = await (await aiohttp_client(_app(Isolation(sandbox=True)))).get(path)
    assert SANDBOX in answer.headers.getall("Content-Security-Policy")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_an_origin_that_was_let_in_by_name_stays_named(aiohttp_client: AiohttpClient) -> None:
    answer = await (await aiohttp_client(_app(Isolation(sandbox=True)))).get("/ui/readable")
    assert answer.headers.getall("Access-Control-Allow-Origin") == ["https://app.example"]


@pytest.mark.parametrize(
    ("isolation", "path"),
    [
        (Isolation(), "/ui/page"),
        (Isolation(sandbox=True, frame_ancestors="'none'"), "/elsewhere"),
    ],
)
async def test_what_is_not_to_be_isolated_is_left_alone(
    aiohttp_client: AiohttpClient, isolation: Isolation, path: str
) -> None:
    answer = await (await aiohttp_client(_app(isolation))).get(path)
    assert answer.headers.getall("Content-Security-Policy") == ["default-src 'self'"]
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_frame_ancestors_alone_make_no_file_readable(aiohttp_client: AiohttpClient) -> None:
    isolation = Isolation(frame_ancestors="'self'")
    answer = await (await aiohttp_client(_app(isolation))).get("/ui/streamed")
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'self'"
    assert "Access-Control-Allow-Origin" not in answer.headers
