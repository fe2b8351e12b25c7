"""A page's own files find their tenant, in every way that a page can be shown."""

import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser
from yarl import URL

from tests.fakes.runner import FakeRunner, UiFile
from tests.gateway.harness import Gateway, in_front_of, running

pytestmark = pytest.mark.browser

KEY = "a-long-enough-proxy-key"
PAGE = UiFile(body=b"<!doctype html><title>x</title><script src=app.js></script>")


async def page_of(gateway: Gateway) -> URL:
    """The signed address of t-1's page, by the name that browsers trust over HTTP."""
    resolve = f"{gateway.url}/gateway/v1/extensions/acme.crm/ui-url"
    headers = {"x-gateway-key": KEY, "x-alga-tenant": "t-1"}
    async with gateway.client.get(resolve, headers=headers) as answer:
        path = (await answer.json())["url"]
    return URL(f"http://localhost:{gateway.port}{path}", encoded=True)


@asynccontextmanager
async def app_with(page: str) -> AsyncIterator[str]:
    """An application on another port that shows `page` in a frame; its address."""

    async def answer(_: web.BaseRequest) -> web.Response:
        frame = f"<!doctype html><iframe src='{html.escape(page)}'></iframe>"
        return web.Response(text=frame, content_type="text/html")

    runner = web.ServerRunner(web.Server(answer), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("sandbox", ["false", "true"])
@pytest.mark.parametrize("framed", [False, True])
async def test_the_files_of_a_page_carry_its_tenant(
    browser: Browser, sandbox: str, framed: bool
) -> None:
    async with FakeRunner() as runner:
        runner.files["index.html"] = PAGE
        environ = in_front_of(
            runner, GATEWAY_AUTH="proxy", GATEWAY_PROXY_KEY=KEY, EXT_UI_SANDBOX=sandbox
        )
        async with running(environ) as gateway:
            page = str(await page_of(gateway))
            tab = await browser.new_page()
            async with app_with(page) as app, tab.expect_response("**/app.js", timeout=8000):
                await tab.goto(app if framed else page)
            await tab.close()
    tenants = {
        asked.target.rpartition("/")[2].partition("?")[0]: asked.headers.get("x-tenant-id")
        for asked in runner.assets
    }
    assert tenants == {"index.html": "t-1", "app.js": "t-1"}
