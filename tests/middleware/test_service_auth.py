from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from middleware.guard import guarded
from middleware.service_auth import SERVICE_TOKEN, service_auth


async def test_every_request_gets_the_token_of_now(aiohttp_client: AiohttpClient) -> None:
    tokens = [None, "first", "second"]

    async def shown(request: web.Request) -> web.Response:
        return web.Response(text=str(request[SERVICE_TOKEN]))

    app = web.Application(middlewares=[guarded(lambda _: (service_auth(lambda: tokens.pop(0)),))])
    app.router.add_get("/", shown)
    client = await aiohttp_client(app)
    assert [await (await client.get("/")).text() for _ in range(3)] == ["None", "first", "second"]
