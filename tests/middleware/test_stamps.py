"""The signals that set response headers, on every way an answer can come about."""

from dataclasses import replace

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from middleware.backend_tag import SERVED_BY, ServedBy, stamp_backend
from middleware.caching import CACHE_RULE, CacheRule, stamp_caching
from middleware.guard import stamped


async def _buffered(_request: web.Request) -> web.Response:
    return web.Response(text="whole")


async def _streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"piece by piece")
    await response.write_eof()
    return response


async def _raised(_request: web.Request) -> web.Response:
    raise web.HTTPForbidden


async def _served_before_the_swap(request: web.Request) -> web.Response:
    request[SERVED_BY] = ServedBy("docker", 3)
    return web.Response()


async def test_every_answer_names_the_backend_of_now(aiohttp_client: AiohttpClient) -> None:
    now = ServedBy("embedded", 4)
    app = web.Application()
    app.on_response_prepare.append(stamped(stamp_backend(lambda: now)))
    app.router.add_get("/buffered", _buffered)
    app.router.add_get("/streamed", _streamed)
    app.router.add_get("/raised", _raised)
    client = await aiohttp_client(app)
    for path in ("/buffered", "/streamed", "/raised", "/nowhere"):
        answer = await client.get(path)
        assert answer.headers["x-runner-backend"] == "embedded"
        assert answer.headers["x-runner-generation"] == "4"
        assert answer.headers["x-content-type-options"] == "nosniff"
    now = replace(now, generation=5)
    assert (await client.get("/buffered")).headers["x-runner-generation"] == "5"


async def test_an_answer_names_the_backend_that_served_it(aiohttp_client: AiohttpClient) -> None:
    app = web.Application()
    app.on_response_prepare.append(stamped(stamp_backend(lambda: ServedBy("embedded", 4))))
    app.router.add_get("/", _served_before_the_swap)
    answer = await (await aiohttp_client(app)).get("/")
    assert answer.headers["x-runner-backend"] == "docker"
    assert answer.headers["x-runner-generation"] == "3"


async def _answer(
    aiohttp_client: AiohttpClient, rule: CacheRule | None, status: int, **headers: str
) -> str:
    async def handler(request: web.Request) -> web.Response:
        if rule is not None:
            request[CACHE_RULE] = rule
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, headers=fields)

    app = web.Application()
    app.on_response_prepare.append(stamped(stamp_caching))
    app.router.add_get("/", handler)
    answer = await (await aiohttp_client(app)).get("/", allow_redirects=False)
    assert len(answer.headers.getall("Cache-Control")) == 1
    buffering = answer.headers.get("X-Accel-Buffering")
    return answer.headers["Cache-Control"] + (f"; buffering={buffering}" if buffering else "")


FOREVER = "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("rule", "status", "expected"),
    [
        (None, 200, "no-store"),
        (CacheRule.NO_STORE, 200, "no-store"),
        (CacheRule.IMMUTABLE, 200, FOREVER),
        (CacheRule.IMMUTABLE, 206, FOREVER),
        (CacheRule.IMMUTABLE, 304, FOREVER),
        (CacheRule.IMMUTABLE, 204, "no-store"),
        (CacheRule.REVALIDATE, 200, "no-cache"),
        (CacheRule.REVALIDATE, 304, "no-cache"),
        (CacheRule.AS_ANSWERED, 200, "private, max-age=5"),
    ],
)
async def test_the_rule_decides_how_long_an_answer_is_kept(
    aiohttp_client: AiohttpClient, rule: CacheRule | None, status: int, expected: str
) -> None:
    said = await _answer(aiohttp_client, rule, status, Cache_Control="private, max-age=5")
    assert said == expected


@pytest.mark.parametrize("rule", list(CacheRule))
@pytest.mark.parametrize("status", [302, 307, 400, 404, 416, 500, 503])
async def test_no_error_and_no_redirect_is_ever_kept(
    aiohttp_client: AiohttpClient, rule: CacheRule, status: int
) -> None:
    assert await _answer(aiohttp_client, rule, status, Cache_Control=FOREVER) == "no-store"


async def test_an_answer_that_says_nothing_is_not_kept(aiohttp_client: AiohttpClient) -> None:
    assert await _answer(aiohttp_client, CacheRule.AS_ANSWERED, 200) == "no-store"


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("max-age=60", "private, max-age=60"),
        ("max-age=60, must-revalidate", "private, max-age=60, must-revalidate"),
        ("no-cache", "private, no-cache"),
        ('max-age=60, private="etag"', 'private, max-age=60, private="etag"'),
        ('no-cache="a, public, b", max-age=60', 'private, no-cache="a, public, b", max-age=60'),
        ("republic, max-age=60", "private, republic, max-age=60"),
        ("max-age=60, Private", "max-age=60, Private"),
        ("no-store", "no-store"),
        ("public, max-age=60", "public, max-age=60"),
        ("max-age=5, s-maxage=60", "max-age=5, s-maxage=60"),
    ],
)
async def test_a_handlers_answer_is_its_callers_alone_unless_it_says_who_may_keep_it(
    aiohttp_client: AiohttpClient, said: str, sent: str
) -> None:
    assert await _answer(aiohttp_client, CacheRule.AS_ANSWERED, 200, Cache_Control=said) == sent


@pytest.mark.parametrize("kind", ["text/event-stream", "Application/X-NDJSON; charset=utf-8"])
async def test_a_stream_is_neither_kept_nor_held_back(
    aiohttp_client: AiohttpClient, kind: str
) -> None:
    said = await _answer(aiohttp_client, CacheRule.AS_ANSWERED, 200, Content_Type=kind)
    assert said == "no-cache, no-transform; buffering=no"
