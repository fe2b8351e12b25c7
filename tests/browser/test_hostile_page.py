"""An extension's page that means harm, in the app's frame and out of it."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import BrowserContext, Page, Request, Response

from middleware.guard import stamped
from middleware.isolation import EXTENSION_FILE, Isolation, stamp_isolation
from tests.browser.conftest import StartGateway
from tests.browser.test_app import ASK, framed, in_front_of
from tests.fakes.runner import FakeRunner
from tests.rigs.nextjs import NextApp

pytestmark = [pytest.mark.browser, pytest.mark.node]

OTHER = "/api/ext/example.other/hello"
TRY = """async (expression) => {
  try { return String(await eval(expression)); } catch (error) { return error.name; }
}"""
APP_SECRETS = ("document.cookie", "localStorage.length", "parent.document.title", "caches.keys()")


async def test_a_framed_page_reads_nothing_of_the_app(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        (frame,) = await framed(page, app, "example.hello")
        assert "readable" in await page.evaluate("document.cookie")  # there is something to take
        for expression in APP_SECRETS:
            assert await frame.evaluate(TRY, expression) == "SecurityError", expression


ROUTES = (
    "/../example.other/hello",
    "/%2e%2e/example.other/hello",
    "/.%2E/example.other/hello",
    "/..\\example.other/hello",
    "/x/../../example.other/hello",
    "/..%2fexample.other/hello",
    "/..%5cexample.other/hello",
    "//../../ext/example.other/hello",
    "/\t../example.other/hello",
    "@example.other/hello",
)


async def test_no_route_leads_the_host_to_another_extension(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        (frame,) = await framed(page, app, "example.hello")
        for route in ROUTES:
            payload = {"route": route, "method": "GET"}
            question = {"type": "apiproxy", "request_id": route, "payload": payload}
            _, data = await frame.evaluate(ASK, question)
            assert data["payload"].keys() == {"error"}, route
        assert runner.executed == []


ATTEMPTS = (
    "fetch(address, { credentials: 'include' })",
    "fetch(address, { credentials: 'include', mode: 'no-cors' })",
    "fetch(address, { credentials: 'include', mode: 'no-cors', method: 'POST', body: 'x' })",
    "open(address)",
    "location.assign(address)",
    "document.body.append(Object.assign(new Image(), { src: address }))",
    "Object.assign(document.body.appendChild(document.createElement('form')), "
    "{ action: address, method: 'post', target: '_blank' }).submit()",
    "Object.assign(document.body.appendChild(document.createElement('form')), "
    "{ action: address, method: 'get' }).submit()",
)


async def test_no_request_of_a_framed_page_counts_as_the_persons_own(
    page: Page, visitor: BrowserContext, app: NextApp, start_gateway: StartGateway
) -> None:
    outcomes = asyncio.Queue[int | None]()

    def answered(response: Response) -> None:
        if OTHER in response.url:
            outcomes.put_nowait(response.status)

    def kept_from_the_page(request: Request) -> None:
        if OTHER in request.url:
            outcomes.put_nowait(None)  # answered, but the page may not even know the status

    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        visitor.on("response", answered)
        visitor.on("requestfailed", kept_from_the_page)
        for attempt in ATTEMPTS:
            (frame,) = await framed(page, app, "example.hello")
            while not outcomes.empty():
                outcomes.get_nowait()  # some attempts are heard of twice
            await frame.evaluate(f"(address) => {{ {attempt}; }}", app.url + OTHER)
            async with asyncio.timeout(20):
                assert await outcomes.get() in {403, None}, attempt
            assert runner.executed == [], attempt


async def test_a_page_cannot_take_its_frame_and_with_it_the_bridge_elsewhere(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with (
        FakeRunner() as runner,
        FakeRunner() as elsewhere,
        start_gateway(**in_front_of(runner)),
    ):
        (frame,) = await framed(page, app, "example.hello")
        async with page.expect_console_message(lambda one: "frame-src" in one.text):
            await frame.evaluate("(address) => { location.href = address; }", elsewhere.url)
        assert elsewhere.received == []


PAGE = """<!doctype html><title>opened</title>
<script type="module" src="/ui/module.js"></script>"""
MODULE = "document.title = 'module ran';"


async def _page(request: web.Request) -> web.Response:
    request[EXTENSION_FILE] = True
    return web.Response(text=PAGE, content_type="text/html")


async def _module(request: web.Request) -> web.Response:
    request[EXTENSION_FILE] = True
    return web.Response(text=MODULE, content_type="text/javascript")


async def _server(isolation: Isolation) -> TestServer:
    app = web.Application()
    app.on_response_prepare.append(stamped(stamp_isolation(lambda: isolation)))
    app.router.add_get("/ui/page", _page)
    app.router.add_get("/ui/module.js", _module)
    server = TestServer(app)
    await server.start_server()
    return server


@pytest.mark.parametrize(
    ("isolation", "title", "cookies"),
    [
        (Isolation(sandbox=False), "module ran", "readable=by-scripts"),
        (Isolation(sandbox=True), "module ran", "SecurityError"),
    ],
    ids=["without", "with"],
)
async def test_a_page_opened_in_a_tab_of_its_own_reads_the_cookies_unless_it_is_isolated(
    visitor: BrowserContext, isolation: Isolation, title: str, cookies: str
) -> None:
    server = await _server(isolation)
    try:
        address = str(server.make_url("/ui/page"))
        await visitor.add_cookies([{"name": "readable", "value": "by-scripts", "url": address}])
        page = await visitor.new_page()
        await page.goto(address)
        await page.wait_for_function("(title) => document.title === title", arg=title)
        assert await page.evaluate(TRY, "document.cookie") == cookies
    finally:
        await server.close()
