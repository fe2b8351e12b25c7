"""The console and the problem pages, judged by axe-core, light and dark, wide and narrow.

Pictures of all of them go to the folder that SCREENSHOTS names, for a person to look at.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.browser.conftest import CLIENTS, WAIT_MS
from tests.fakes.runner import Envelope, FakeRunner, HttpAnswer
from tests.gateway.harness import Gateway, in_front_of, running
from tests.rigs.npm import node_modules

pytestmark = pytest.mark.browser

RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
SIZES = {
    "wide": ViewportSize(width=1280, height=900),
    "narrow": ViewportSize(width=390, height=844),
}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return (node_modules(CLIENTS) / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """One with something to show: answers, a failure, a refusal."""
    async with FakeRunner() as runner, running(in_front_of(runner)) as started:
        runner.script.extend([Envelope(error="execute_failed"), HttpAnswer(status=500)])
        for path in ("hello", "hello", "hello", "items/1", "nothing"):
            async with started.client.get(f"{started.url}/api/ext/acme.crm/{path}") as answer:
                await answer.read()
        yield started


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Scheme:
    chosen: Scheme = request.param
    return chosen


@pytest.fixture(params=SIZES)
async def page(
    request: pytest.FixtureRequest, browser: Browser, scheme: Scheme
) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport=SIZES[request.param], color_scheme=scheme)
    context.set_default_timeout(WAIT_MS)
    yield await context.new_page()
    await context.close()


async def _judge(page: Page, axe: str, name: str) -> None:
    """Take a picture, and let axe-core say what is wrong."""
    if folder := os.environ.get("SCREENSHOTS"):
        size = page.viewport_size or {"width": 0}
        dark = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        file = f"{name}-{size['width']}-{'dark' if dark else 'light'}.png"
        await page.screenshot(path=Path(folder) / file, full_page=True)
    # Evaluated by the browser's own tools, the page's policy of script sources stays as it is.
    await page.evaluate(axe)
    found: dict[str, Any] = await page.evaluate(
        f"axe.run({{runOnly: {{type: 'tag', values: {RULES}}}, resultTypes: ['violations']}})"
    )
    told = [
        (one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]
    ]
    assert told == []
    assert len(found["passes"]) > 0
    assert await page.evaluate(OVERFLOW) <= 0, "the page scrolls sideways"


async def test_the_console_is_for_everybody(page: Page, gateway: Gateway, axe: str) -> None:
    await page.goto(f"{gateway.url}/gateway/")
    await expect(page.locator("#connection")).to_have_text("Live", timeout=WAIT_MS)
    await expect(page.locator("#codes tr").first).to_be_visible()
    await _judge(page, axe, "console")


async def test_every_part_of_the_console_is_for_everybody(
    page: Page, gateway: Gateway, axe: str
) -> None:
    """With everything that can be opened, open."""
    await page.goto(f"{gateway.url}/gateway/")
    await expect(page.locator("#connection")).to_have_text("Live", timeout=WAIT_MS)
    await page.evaluate(
        "document.querySelectorAll('details').forEach((one) => { one.open = true })"
    )
    await _judge(page, axe, "console-open")


@pytest.mark.parametrize("name", ["index", "extension_failed", "identity_unavailable"])
async def test_pages_about_problems_are_for_everybody(
    page: Page, gateway: Gateway, axe: str, name: str
) -> None:
    answer = await page.goto(f"{gateway.url}/gateway/problems/{name}.html")
    assert answer is not None
    assert answer.status == 200
    await _judge(page, axe, f"problem-{name}")
