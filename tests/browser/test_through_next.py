"""What Next.js makes of the gateway's answers when it stands between it and the browser."""

import asyncio
import gzip
import json
from io import BytesIO

import pytest
from aiohttp import ClientSession
from playwright.async_api import Page, expect
from yarl import URL

from tests.browser.conftest import StartGateway
from tests.browser.test_app import framed, in_front_of
from tests.fakes.raw_runner import RawRunner, Wire, head, response
from tests.fakes.runner import Envelope, FakeRunner, UiFile
from tests.rigs.nextjs import PROXY_KEY, TENANT, NextApp

pytestmark = [pytest.mark.browser, pytest.mark.node]

HELLO = "/api/ext/example.hello/hello"
ECHO = "/api/ext/example.hello/echo"
SILENCE_S = 40.0  # more than Next and its example app allow
HEAR = """(address) => {
  window.events = [];
  const source = new EventSource(address);
  source.onmessage = ({ data }) => window.events.push(data);
  source.onerror = () => source.close();
}"""
MOST = 10_485_760  # what the gateway takes unless it is told otherwise


async def ui_url(app: NextApp, name: str) -> URL:
    """Where Next has this file of example.hello."""
    gateway = URL(app.url).with_port(app.gateway_port)
    headers = {"x-gateway-key": PROXY_KEY, "x-alga-tenant": TENANT}
    async with (
        ClientSession(headers=headers) as session,
        session.get(
            gateway / "gateway/v1/extensions/example.hello/ui-url", ssl=app.trusts()
        ) as answer,
    ):
        told = (await answer.json())["url"]
    return URL(told.replace("index.html", name), encoded=True)


async def test_events_reach_a_browser_one_by_one(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    seen = asyncio.Event()
    asked_for = asyncio.Queue[str]()

    async def events(wire: Wire) -> None:
        request = runner.requests[-1]
        if "/ext-ui/" not in request.target:
            await wire.send(response(b"{}", fields=[("Content-Type", "application/json")]))
            return
        asked_for.put_nowait(request.field("accept-encoding") or "")
        await wire.send(head(fields=[("Content-Type", "text/event-stream")]))
        await wire.send(b"data: one\n\n")
        await seen.wait()
        await wire.send(b"data: two\n\n")
        wire.close()

    async with RawRunner(events) as runner:
        docker = {"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": runner.url}
        async with start_gateway(**docker):
            await page.goto(app.url)
            await page.evaluate(HEAR, str(await ui_url(app, "events")))
            # The second event is not even sent before the first has come through.
            await page.wait_for_function("window.events.includes('one')")
            seen.set()
            await page.wait_for_function("window.events.includes('two')")
            assert "gzip" in await asked_for.get()


async def test_an_aborted_call_is_cancelled_at_the_runner(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        await page.goto(app.url)
        runner.may_answer.clear()
        await page.evaluate(
            """(path) => {
              window.calling = new AbortController();
              fetch(path, { signal: window.calling.signal }).catch(() => {});
            }""",
            HELLO,
        )
        while "/v1/execute" not in (await runner.asked.get()).target:
            pass
        await page.evaluate("window.calling.abort()")
        async with asyncio.timeout(10):
            await runner.abandoned.wait()


async def test_files_keep_their_validators_ranges_and_length(
    client: ClientSession, app: NextApp, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        script = await ui_url(app, "app.js")
        async with client.get(script) as whole:
            body, etag = await whole.read(), whole.headers["ETag"]
            assert whole.status == 200
            assert whole.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        async with client.head(script) as looked:
            assert (looked.status, looked.headers["Content-Length"]) == (200, str(len(body)))
            assert looked.headers["ETag"] == etag
        async with client.get(script, headers={"If-None-Match": etag}) as known:
            assert (known.status, await known.read()) == (304, b"")
        async with client.get(script, headers={"Range": "bytes=2-5"}) as part:
            assert (part.status, await part.read()) == (206, body[2:6])
            assert part.headers["Content-Range"] == f"bytes 2-5/{len(body)}"
        async with client.get(script, headers={"Range": "bytes=900-"}) as beyond:
            assert beyond.status == 416
            assert beyond.headers["Content-Range"] == f"bytes */{len(body)}"


async def test_an_upload_of_the_largest_size_arrives_whole(
    client: ClientSession, start_gateway: StartGateway
) -> None:
    async def answer(wire: Wire) -> None:  # its health, too, is asked for
        fields = [("Content-Type", "application/json")]
        await wire.send(response(Envelope(status=201).encode(), fields=fields))

    async with RawRunner(answer) as runner:
        docker = {"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": runner.url}
        async with start_gateway(**docker):
            async with client.post(ECHO, data=BytesIO(b"x" * MOST)) as taken:
                assert taken.status == 201
            (executed,) = [each for each in runner.requests if each.method == "POST"]
            encoded = json.loads(executed.body)["http"]["body_b64"]
            assert len(encoded) == -(-MOST // 3) * 4


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_that_is_too_large_is_told_so_by_the_gateway(
    client: ClientSession, start_gateway: StartGateway, chunked: bool
) -> None:
    async def pieces() -> object:
        for _ in range(12):
            yield b"x" * 1_048_576

    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        body = pieces() if chunked else BytesIO(b"x" * (MOST + 1))
        async with client.post(ECHO, data=body) as refused:
            problem = await refused.json(content_type="application/problem+json")
            assert (refused.status, problem["error"]) == (413, "payload_too_large")
            assert refused.headers["x-request-id"] == problem["requestId"]
        assert runner.executed == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_guests_own_refusals_arrive_as_the_guest_said_them(
    client: ClientSession, start_gateway: StartGateway, method: str
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        for status in (401, 404, 413, 429, 500, 503, 504):
            headers = {"content-type": "text/plain", "x-ext-limit": "5"}
            runner.script.append(Envelope(status=status, headers=headers, body=b"slower"))
            async with client.request(method, HELLO if method == "GET" else ECHO) as answer:
                assert (answer.status, await answer.read()) == (status, b"slower")
                assert answer.headers["x-ext-limit"] == "5"
                assert answer.content_type == "text/plain"


async def test_compressed_files_arrive_as_the_runner_compressed_them(
    client: ClientSession, app: NextApp, start_gateway: StartGateway
) -> None:
    body = gzip.compress(b"console.log('hello');" * 500)
    coded = {"content-encoding": "gzip", "vary": "accept-encoding"}
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        runner.files["zipped.js"] = UiFile(body=body, content_type="text/javascript", headers=coded)
        where = await ui_url(app, "zipped.js")
        async with client.get(where, headers={"Accept-Encoding": "gzip"}) as answer:
            assert await answer.read() == body
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Content-Length"] == str(len(body))
            assert "accept-encoding" in answer.headers["Vary"].lower()


@pytest.mark.parametrize("app", ["start"], indirect=True)
async def test_forty_seconds_of_silence_end_no_stream(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    may_go_on = asyncio.Event()

    async def events(wire: Wire) -> None:
        if "/ext-ui/" not in runner.requests[-1].target:
            await wire.send(response(b"{}", fields=[("Content-Type", "application/json")]))
            return
        await wire.send(head(fields=[("Content-Type", "text/event-stream")]) + b"data: one\n\n")
        await may_go_on.wait()
        await wire.send(b"data: two\n\n")
        await wire.reader.read()

    async with RawRunner(events) as runner:
        docker = {"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": runner.url}
        async with start_gateway(**docker):
            await page.goto(app.url)
            await page.evaluate(HEAR, str(await ui_url(app, "events")))
            await page.wait_for_function("window.events.includes('one')")
            await asyncio.sleep(SILENCE_S)
            may_go_on.set()
            await page.wait_for_function("window.events.includes('two')")
            # A stream that had been broken off and asked for again would have begun anew.
            assert await page.evaluate("window.events") == ["one", "two"]


@pytest.mark.parametrize("app", ["dev"], indirect=True)
async def test_an_edit_of_the_app_shows_at_once_and_is_no_affair_of_the_gateways(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    source = app.folder / "app" / "page.jsx"
    before = source.read_text()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)) as gateway:
        await framed(page, app, "example.hello")
        await page.evaluate("window.kept = true")
        try:
            source.write_text(before.replace("An app with extensions", "An app that was edited"))
            await expect(page.get_by_role("heading", level=1)).to_have_text(
                "An app that was edited"
            )
        finally:
            source.write_text(before)
        await expect(page.get_by_role("heading", level=1)).to_have_text("An app with extensions")
        assert await page.evaluate("window.kept")  # the page was mended, not loaded anew
        assert [url for url in sockets if "/_next/" in url]

        async with ClientSession(gateway.url) as direct, direct.get("/gateway/v1/last"):
            pass
        await gateway.event("request_answered", status=404)  # nothing is on its way any more
        answered = [line for line in gateway.lines if line["event"].startswith("request_")]
        assert {line["route"] for line in answered[:-1]} <= {
            "/gateway/v1/extensions/{extension}/ui-url",
            "/runner/ext-ui/{extension}/{content_hash}/{path}",
            "/api/ext/{extension}/{path}",
        }


async def test_a_runner_that_is_away_is_a_503_that_says_when_to_come_back(
    client: ClientSession, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        await runner.stop()
        async with client.get(HELLO) as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["error"]) == (503, "runner_unreachable")
            assert int(answer.headers["Retry-After"]) > 0


async def test_a_runner_that_is_silent_is_a_504_that_names_the_budget(
    client: ClientSession, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner:
        impatient = {**in_front_of(runner), "RUNNER_FIRST_BYTE_TIMEOUT_MS": "300"}
        async with start_gateway(**impatient):
            runner.may_answer.clear()
            async with client.get(HELLO) as answer:
                problem = await answer.json(content_type="application/problem+json")
                assert (answer.status, problem["error"]) == (504, "runner_timeout")
                assert problem["phase"] == "first_byte"


async def test_only_the_app_says_who_calls(
    client: ClientSession, start_gateway: StartGateway
) -> None:
    forged = {
        "x-gateway-key": "guessed",
        "x-gateway-user": "e30",
        "x-alga-tenant": "somebody-else",
        "x-tenant-id": "somebody-else",
    }
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        async with client.get(HELLO, headers=forged) as answer:
            assert answer.status == 200
        (executed,) = runner.executed
        assert executed.envelope["context"]["tenant_id"] == TENANT
        assert executed.envelope["user"]["user_name"] == "Ada"
        assert "cookie" not in executed.envelope["http"]["headers"]


STRANGERS: tuple[tuple[dict[str, str], int], ...] = (
    ({"Cookie": ""}, 401),
    ({"Cookie": "session=ada.forged"}, 401),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "none"}, 403),
)


async def test_who_is_not_signed_in_or_not_the_apps_own_page_calls_nothing(
    client: ClientSession, start_gateway: StartGateway
) -> None:
    async with FakeRunner() as runner, start_gateway(**in_front_of(runner)):
        for headers, status in STRANGERS:
            async with client.get(HELLO, headers=headers) as answer:
                assert answer.status == status, headers
                assert answer.content_type == "application/problem+json"
        assert runner.executed == []
