"""Somebody works with extensions in the example app, in a real browser."""

import asyncio
import signal

import pytest
from playwright.async_api import BrowserContext, Frame, Page, expect

from tests.browser.conftest import StartGateway
from tests.fakes.runner import Answer, Envelope, FakeRunner, Received
from tests.rigs.nextjs import NextApp

pytestmark = [pytest.mark.browser, pytest.mark.node]

ASK = """(message) => new Promise((resolve) => {
  addEventListener("message", ({ source, origin, data }) => {
    if (source === parent && data.request_id === message.request_id) resolve([origin, data]);
  });
  parent.postMessage({ alga: true, version: "1", ...message }, "*");
})"""
TELL = """(message) => parent.postMessage({ alga: true, version: "1", ...message }, "*")"""
LISTEN = """() => {
  window.heard = {};
  addEventListener("message", ({ data }) => { window.heard[data.type] = data.payload; });
}"""
POLL_UNTIL = """async (generation) => {
  const statuses = new Set();
  for (let seen = null; seen !== generation; ) {
    const answer = await fetch("/api/ext/example.hello/hello");
    await answer.arrayBuffer();
    statuses.add(answer.status);
    seen = answer.headers.get("x-runner-generation");
  }
  return [...statuses];
}"""


async def framed(page: Page, app: NextApp, *extensions: str) -> list[Frame]:
    """Open these extensions' pages side by side."""
    query = "&".join(f"extension={each}" for each in extensions)
    await page.goto(f"{app.url}/?{query}")
    frames = []
    for extension in extensions:
        element = await page.locator(f"iframe[title='{extension}']").element_handle()
        assert element is not None
        frame = await element.content_frame()
        assert frame is not None
        await frame.wait_for_url("**/index.html?*")
        frames.append(frame)
    return frames


async def test_somebody_signs_in_and_the_extension_works_in_its_frame(
    visitor: BrowserContext, app: NextApp, start_gateway: StartGateway
) -> None:
    async with start_gateway(RUNNER_BACKEND="embedded") as gateway:
        page = await visitor.new_page()
        await page.goto(app.url)
        await page.get_by_role("button", name="Sign in as Ada").click()
        frame = page.frame_locator("iframe")

        await expect(frame.locator("#greeting")).to_have_text("Hello, Ada!")
        await frame.get_by_role("button", name="Start again").click()
        await expect(frame.locator("#visits")).to_have_text("0 visits so far.")
        await frame.get_by_role("button", name="Count a visit").click()

        await expect(frame.locator("#visits")).to_have_text("1 visit so far.")
        await expect(frame.locator("#transport")).to_have_text("the host's bridge")
        # What the app does for itself never comes to the gateway.
        assert not [line for line in gateway.lines if "_next" in str(line)]


async def test_the_frame_is_as_high_as_its_page_says_within_limits(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        (frame,) = await framed(page, app, "example.hello")
        for said, height in ((500, "500px"), (99_999, "4000px"), (1, "100px")):
            await frame.evaluate(TELL, {"type": "resize", "payload": {"height": said}})
            await expect(page.locator("iframe")).to_have_css("height", height)


async def test_the_page_hears_of_the_theme_and_may_move_inside_its_own_router(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        (frame,) = await framed(page, app, "example.hello")
        await frame.evaluate(LISTEN)
        await frame.evaluate(TELL, {"type": "ready", "payload": {}})
        await frame.wait_for_function("window.heard.theme")
        heard = await frame.evaluate("window.heard")
        light = heard["theme"]["--alga-bg"]
        assert light.startswith("#fff")
        assert heard["bootstrap"]["theme_tokens"] == heard["theme"]
        assert heard["bootstrap"]["navigation"] == {"path": "/"}

        await page.get_by_role("button", name="Light or dark").click()
        await frame.wait_for_function(
            "(light) => window.heard.theme['--alga-bg'] !== light", arg=light
        )

        await frame.evaluate(TELL, {"type": "navigate", "payload": {"path": "/items/7"}})
        await frame.wait_for_url("**/index.html?path=%2Fitems%2F7&*")


def _says_who_it_is(received: Received) -> Answer:
    return Envelope(body=received.headers["x-alga-extension"].encode())


async def test_two_frames_that_ask_with_one_request_id_get_each_its_own_answer(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner(_says_who_it_is) as runner, start_gateway(**in_front_of(runner)):
        frames = await framed(page, app, "example.hello", "example.other")
        payload = {"route": "/hello", "method": "GET"}
        question = {"type": "apiproxy", "request_id": "1", "payload": payload}
        answers = [await frame.evaluate(ASK, question) for frame in frames]

        assert [origin for origin, _ in answers] == [app.url, app.url]
        bodies = [data["payload"]["body"] for _, data in answers]
        assert len(set(bodies)) == 2
        paths = [each.envelope["http"]["path"] for each in runner.executed]
        assert paths == ["/hello", "/hello"]


UNASKABLE: tuple[tuple[dict[str, object], str], ...] = (
    ({"route": "/hello", "method": "TRACE"}, "Unsupported method"),
    ({"route": "hello"}, "Invalid route"),
    ({"route": 7}, "Invalid route"),
    ({}, "Invalid route"),
    ({"route": "/echo", "body": "no base64!"}, "The body is not base64"),
)


async def test_a_question_that_cannot_be_asked_is_answered_all_the_same(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        (frame,) = await framed(page, app, "example.hello")
        for number, (payload, error) in enumerate(UNASKABLE):
            question = {"type": "apiproxy", "request_id": str(number), "payload": payload}
            _, data = await frame.evaluate(ASK, question)
            assert data["type"] == "apiproxy_response"
            assert data["payload"] == {"error": error}, payload
        assert runner.executed == []


async def test_a_failure_comes_with_its_status_and_problem(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        (frame,) = await framed(page, app, "example.hello")
        runner.script.append(Envelope(error="guest_trap"))
        payload = {"route": "/hello", "method": "GET"}
        question = {"type": "apiproxy", "request_id": "1", "payload": payload}
        _, data = await frame.evaluate(ASK, question)
        assert data["payload"]["error"].startswith("Proxy error 502: {")
        assert "extension_failed" in data["payload"]["error"]


async def test_a_swap_under_a_page_that_keeps_asking_shows_in_the_tag_alone(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(RUNNER_BACKEND="embedded") as gateway:
        await page.goto(app.url)
        asking = asyncio.create_task(page.evaluate(POLL_UNTIL, "2"))
        await gateway.event("request_answered", route="/api/ext/{extension}/{path}")
        gateway.write_env(**in_front_of(runner))
        gateway.send(signal.SIGHUP)

        async with asyncio.timeout(30):
            assert await asking == [200]


def in_front_of(runner: FakeRunner) -> dict[str, str]:
    """The variables of a gateway whose runner is `runner`."""
    return {"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": runner.url}
