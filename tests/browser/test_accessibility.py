"""Every page of the gateway's own, as axe-core and as people see it.

Pictures are kept where BROWSER_PICTURES_DIR says.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.fakes.runner import Envelope, FakeRunner
from tests.gateway.harness import Gateway, in_front_of, running
from tests.rigs.npm import node_modules

pytestmark = [pytest.mark.browser, pytest.mark.node]

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
PROBLEMS: Final = sorted(path.name for path in (ROOT / "static" / "problems").glob("*.html"))
HELLO = "/api/ext/acme.crm/hello"
TOKEN = "an-admin-token-for-tests"
CHECK = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, help, nodes }) => (
    { id, help, where: nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`) }));
}"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

Scheme = Literal["light", "dark"]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return "dark" if request.param == "dark" else "light"


@pytest.fixture(params=[1280, 390])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
async def tab(browser: Browser, scheme: Scheme, width: int) -> AsyncIterator[Page]:
    context = await browser.new_context(
        viewport=ViewportSize(width=width, height=900),
        color_scheme=scheme,
        reduced_motion="reduce",  # what is half faded in has no contrast yet
    )
    yield await context.new_page()
    await context.close()


@pytest.fixture
def picture(scheme: Scheme, width: int) -> str:
    """How this test's pictures begin."""
    return f"{width}-{scheme}"


async def look(page: Page, name: str, *, whole: bool = True) -> None:
    """Find nothing to complain about, nothing off the side, and keep a picture."""
    if folder := os.environ.get("BROWSER_PICTURES_DIR"):
        path = Path(folder) / f"{name}.png"
        await page.screenshot(path=path, full_page=whole, animations="disabled")
    axe = (node_modules(CLIENTS) / "axe-core" / "axe.min.js").read_text()
    await page.evaluate(f"() => {{ {axe} }}")
    found: list[dict[str, Any]] = await page.evaluate(CHECK)
    assert found == [], name
    assert await page.evaluate(SIDEWAYS) == 0, name


async def call(gateway: Gateway, path: str = HELLO, **headers: str) -> None:
    async with gateway.client.get(gateway.url + path, headers=headers) as answer:
        await answer.read()


@asynccontextmanager
async def busy() -> AsyncIterator[Gateway]:
    """A gateway with something in every section of its console."""
    async with FakeRunner() as runner, running(in_front_of(runner)) as gateway:
        for number in range(12):
            if number % 4 == 3:
                runner.script.append(Envelope(error="execute_failed"))
            await call(gateway)
            await call(gateway, f"/api/ext/acme.crm/items/{number}")
        await call(gateway, "/api/ext/an.extension.with.a.rather.long.name.indeed/hello")
        await call(gateway, "/nowhere")
        gateway.environ["RUNNER_IDLE_TIMEOUT_MS"] = "14000"
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            assert (await answer.json())["outcome"] == "switched"
        gateway.environ["RUNNER_BACKEND"] = "dokcer"
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            assert (await answer.json())["outcome"] == "refused"
        gateway.environ["RUNNER_BACKEND"] = "docker"
        runner.may_answer.clear()
        held = [asyncio.create_task(call(gateway)) for _ in range(3)]
        for _ in held:
            while "/v1/execute" not in (await runner.asked.get()).target:
                pass
        yield gateway
        runner.may_answer.set()
        await asyncio.gather(*held)


async def test_the_console_with_something_in_every_section(tab: Page, picture: str) -> None:
    async with busy() as gateway:
        await tab.goto(f"{gateway.url}/gateway/")
        await expect(tab.locator("#connection")).to_have_text("Live")
        await expect(tab.locator("#routes")).to_contain_text("/api/ext")
        await expect(tab.locator("#longest tr")).to_have_count(3)
        await look(tab, f"{picture}-console")

        await tab.get_by_role("button", name="Plan a reload").click()
        await expect(tab.locator("#reload-said")).not_to_be_empty()
        await tab.get_by_role("button", name="Reload now").click()
        await expect(tab.get_by_role("dialog")).to_be_visible()
        await look(tab, f"{picture}-console-dialog", whole=False)
        await tab.keyboard.press("Escape")

        for summary in await tab.locator("summary:visible").all():
            await summary.click()
        await look(tab, f"{picture}-console-unfolded")


async def test_the_console_before_anything_has_happened(tab: Page, picture: str) -> None:
    async with FakeRunner() as runner, running(in_front_of(runner)) as gateway:
        await tab.goto(f"{gateway.url}/gateway/")
        await expect(tab.locator("#connection")).to_have_text("Live")
        await look(tab, f"{picture}-console-empty")
    await expect(tab.locator("#connection")).to_have_text("Not connected")
    await look(tab, f"{picture}-console-not-connected", whole=False)


async def test_the_console_that_asks_who_looks(tab: Page, picture: str) -> None:
    async with (
        FakeRunner() as runner,
        running(in_front_of(runner, GATEWAY_ADMIN_TOKEN=TOKEN)) as gateway,
    ):
        await tab.goto(f"{gateway.url}/gateway/")
        field = tab.get_by_label("Admin token")
        await field.fill("wrong")
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#login-why")).to_contain_text("not this gateway's admin token")
        await look(tab, f"{picture}-login")


async def test_the_pages_that_explain_problems(tab: Page, picture: str) -> None:
    async with FakeRunner() as runner, running(in_front_of(runner)) as gateway:
        for name in PROBLEMS:
            await tab.goto(f"{gateway.url}/gateway/problems/{name}")
            await look(tab, f"{picture}-problem-{name.removesuffix('.html')}")
