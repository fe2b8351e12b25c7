"""The app as it is deployed (`next start`), and while somebody edits it (`next dev`)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.browser.conftest import WAIT_MS, StartGateway
from tests.browser.test_app import POLL_UNTIL
from tests.journeys.process import GatewayProcess
from tests.rigs.nextjs import NextApp, free_port, serving

pytestmark = [pytest.mark.browser, pytest.mark.node]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NextApp]:
    folder = tmp_path_factory.mktemp("nextjs-built") / "app"
    with serving(folder, gateway_port=free_port(), mode="start") as running:
        yield running


@asynccontextmanager
async def _signed_in(
    visitor: BrowserContext, app: NextApp, start_gateway: StartGateway
) -> AsyncIterator[tuple[Page, GatewayProcess]]:
    async with start_gateway(app.gateway_port, RUNNER_BACKEND="embedded") as gateway:
        page = await visitor.new_page()
        await page.goto(app.url)
        await page.get_by_role("button", name="Sign in as Ada").click()
        await expect(page.frame_locator("iframe").locator("#greeting")).to_have_text("Hello, Ada!")
        yield page, gateway


async def test_the_built_app_serves_the_same_flow(
    visitor: BrowserContext, built: NextApp, start_gateway: StartGateway
) -> None:
    async with _signed_in(visitor, built, start_gateway) as (page, gateway):
        frame = page.frame_locator("iframe")
        await frame.get_by_role("button", name="Start again").click()
        await frame.get_by_role("button", name="Count a visit").click()
        await expect(frame.locator("#visits")).to_have_text("1 visit so far.")
        await expect(frame.locator("#transport")).to_have_text("the host's bridge")
        assert not [line for line in gateway.lines if "_next" in str(line)]


async def test_a_swap_behind_the_built_app_is_seen_by_nobody(
    visitor: BrowserContext, built: NextApp, start_gateway: StartGateway
) -> None:
    async with _signed_in(visitor, built, start_gateway) as (page, gateway):
        asking = asyncio.create_task(page.evaluate(POLL_UNTIL, "2"))
        gateway.write_env(RUNNER_BACKEND="embedded", EXT_GATEWAY_TIMEOUT_MS="29000")
        gateway.send(signal.SIGHUP)
        async with asyncio.timeout(30):
            assert await asking == [200]


async def test_what_is_saved_arrives_in_the_open_page_beside_the_gateway(
    visitor: BrowserContext, start_gateway: StartGateway, tmp_path: Path
) -> None:
    """The WebSocket of hot reloading is Next's own: the gateway behind it changes nothing."""
    folder = tmp_path / "edited"
    with serving(folder, gateway_port=free_port()) as app:
        async with _signed_in(visitor, app, start_gateway) as (page, gateway):
            await page.evaluate("window.loadedOnce = true")
            heading = folder / "app" / "page.jsx"
            text = heading.read_text()
            assert "An app with extensions" in text
            heading.write_text(text.replace("An app with extensions", "An edited app"))
            await expect(page.get_by_role("heading", level=1)).to_have_text(
                "An edited app", timeout=WAIT_MS
            )
            assert await page.evaluate("window.loadedOnce") is True  # not by a reload
            assert not [line for line in gateway.lines if "_next" in str(line)]
            assert {line.get("route") for line in gateway.lines if "route" in line} <= {
                "/api/ext/{extension}/{path}",
                "/runner/ext-ui/{extension}/{content_hash}/{path}",
                "/gateway/v1/extensions/{extension}/ui-url",
            }
