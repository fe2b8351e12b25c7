"""An operator and the console, in a real browser."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from gateway.verbs.certificates import make_certificates
from tests.browser.conftest import WAIT_MS
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import Envelope, FakeRunner
from tests.gateway.harness import HASH, INSTALL, Gateway, KnownInstalls, in_front_of, running
from tests.journeys.process import gateway_process

pytestmark = pytest.mark.browser

TOKEN = "an-admin-token-for-tests"
HELLO = "/api/ext/acme.crm/hello"
UNNAMED_CONTROLS = """() => [
    ...document.querySelectorAll("button, input, select, textarea, a, [tabindex]")
  ]
  .filter((each) => each.checkVisibility() && !each.matches("main"))
  .filter((each) => !each.ariaLabel && !each.getAttribute("aria-labelledby")
    && !each.labels?.length && !each.textContent.trim())
  .map((each) => each.outerHTML)"""
HIDE = """() => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => %s });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as fake:
        yield fake


@pytest.fixture
async def gateway(runner: FakeRunner) -> AsyncIterator[Gateway]:
    async with running(in_front_of(runner)) as started:
        yield started


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider() as started:
        yield started


@pytest.fixture
async def tab(browser: Browser) -> AsyncIterator[Page]:
    """An empty tab. Whatever a page complains about in it fails the test."""
    context = await browser.new_context(viewport=ViewportSize(width=1200, height=900))
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    await context.close()
    # That an answer was a refusal is what some tests are about.
    assert [each for each in complaints if not each.startswith("Failed to load resource")] == []


async def call(gateway: Gateway, path: str = HELLO, **headers: str) -> None:
    async with gateway.client.get(gateway.url + path, headers=headers) as answer:
        await answer.read()


async def is_live(page: Page) -> None:
    await expect(page.locator("#connection")).to_have_text("Live", timeout=WAIT_MS)


async def test_requests_and_failures_appear_while_they_happen(
    tab: Page, gateway: Gateway, runner: FakeRunner
) -> None:
    await tab.goto(f"{gateway.url}/gateway/")
    await is_live(tab)
    await expect(tab.locator("#backend-kind")).to_have_text("docker")
    runner.script.append(Envelope(error="execute_failed"))
    await call(gateway, **{"X-Request-Id": "the-one-that-failed"})
    await call(gateway)
    row = tab.locator("#codes tr", has_text="extension_failed")
    await expect(row).to_contain_text("acme.crm")
    await expect(tab.locator("#by-extension")).to_contain_text("acme.crm")
    await expect(tab.locator("#total-errors")).to_have_text("1")
    await row.get_by_role("button").click()
    await expect(tab.locator("#log-said")).to_have_text("1 remembered for the-one-that-failed.")
    await row.get_by_role("link").click()
    await expect(tab.get_by_role("heading", level=1)).to_be_visible()
    assert tab.url == f"{gateway.url}/gateway/problems/extension_failed.html"


async def test_a_worker_that_is_missing_is_named(browser: Browser, tmp_path: Path) -> None:
    tls = await asyncio.to_thread(make_certificates, tmp_path / "tls")
    environ = {
        "GATEWAY_WORKERS": "2",
        "RUNNER_BUNDLE_DIR": "bundles",
        "GATEWAY_TLS_CERT": str(tls.server),
        "GATEWAY_TLS_KEY": str(tls.server_key),
    }
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    async with gateway_process(tmp_path, environ=environ, env_file={}) as gateway:
        await page.goto(f"{gateway.url}/gateway/")
        await expect(page.locator("#workers")).to_have_text("2 of 2")
        await expect(page.locator("#workers-detail")).to_have_text("all answer")
        await asyncio.to_thread(tls.server_key.write_text, "no key")  # none can be started now
        victim = (await gateway.event("worker_started", worker=1))["pid"]
        os.kill(victim, signal.SIGKILL)
        await expect(page.locator("#workers-detail")).to_have_text("1 is being started")
        await expect(page.locator("#workers")).to_have_text("1 of 2")
    await context.close()


async def test_a_reload_is_planned_confirmed_and_shown(tab: Page, gateway: Gateway) -> None:
    await tab.goto(f"{gateway.url}/gateway/")
    await is_live(tab)
    async with FakeRunner() as other:
        gateway.environ["RUNNER_DOCKER_HOST"] = other.url
        await tab.get_by_role("button", name="Plan a reload").click()
        await expect(tab.locator("#reload-said")).to_contain_text(
            "It would switch docker to docker"
        )
        await tab.get_by_role("button", name="Reload now").click()
        await tab.keyboard.press("Escape")
        # A reload that Escape had not prevented would be over before this plan, with nothing left.
        async with tab.expect_response("**/reload?plan=true") as planned:
            await tab.get_by_role("button", name="Plan a reload").click()
        assert (await (await planned.value).json())["outcome"] == "switched"
        await tab.get_by_role("button", name="Reload now").click()
        await tab.get_by_role("button", name="Reload", exact=True).click()
        await expect(tab.locator("#reload-said")).to_contain_text("generation 2 answers now")
        await expect(tab.locator("#generation")).to_have_text("2")
        await expect(tab.locator("#receipts")).to_contain_text("switched")
        gateway.environ["RUNNER_BACKEND"] = "dokcer"
        await tab.get_by_role("button", name="Plan a reload").click()
        await expect(tab.locator("#reload-said")).to_contain_text("It would be refused")
        await expect(tab.locator("#reload-said")).to_contain_text("RUNNER_BACKEND")


async def test_an_extension_is_tried_from_the_page(
    tab: Page, gateway: Gateway, runner: FakeRunner
) -> None:
    await tab.goto(f"{gateway.url}/gateway/")
    card = tab.get_by_role("article").filter(has_text="acme.crm")
    await card.get_by_text("Try it").click()
    await card.get_by_label("Method").select_option(label="POST /echo")
    await card.get_by_label("Body").fill('{"say": "<b>hello</b>"}')
    await card.get_by_role("button", name="Send").click()
    await expect(card.locator(".said")).to_contain_text("Status 200")
    await expect(card.locator(".answer")).to_contain_text("<b>hello</b>")
    assert runner.executed[-1].guest_body == b'{"say": "<b>hello</b>"}'
    await card.get_by_label("Path and query").fill("/../../../gateway/v1/reload")
    await card.get_by_role("button", name="Send").click()
    await expect(card.locator(".said")).to_have_text("This path leads out of the extension.")


@pytest.mark.parametrize(
    ("auth", "whose"), [("proxy", "from the application only"), ("jwt", "Authorization: Bearer")]
)
async def test_where_others_say_who_calls_a_note_stands_instead_of_the_form(
    tab: Page, runner: FakeRunner, provider: IdentityProvider, auth: str, whose: str
) -> None:
    told = in_front_of(
        runner,
        GATEWAY_AUTH=auth,
        GATEWAY_PROXY_KEY="a-proxy-key-for-these-tests-only",
        GATEWAY_JWT_JWKS_URL=provider.url,
        GATEWAY_JWT_ISSUER=ISSUER,
        GATEWAY_JWT_AUDIENCE=AUDIENCE,
    )
    async with running(told) as gateway:
        await tab.goto(f"{gateway.url}/gateway/")
        card = tab.get_by_role("article")
        await card.get_by_text("Try it").click()
        await expect(card.get_by_text(f"GATEWAY_AUTH={auth}")).to_be_visible()
        await expect(card.get_by_text(whose)).to_be_visible()
        await expect(card.locator("[data-auth]:visible")).to_have_count(1)
        await expect(card.get_by_role("button", name="Send")).to_have_count(0)
        page = await card.get_by_role("link", name="Open its page").get_attribute("href")
        assert page is not None
        assert "&_ext=" in page


async def test_the_card_of_another_tenant_offers_nothing_that_would_be_this_ones(
    tab: Page, runner: FakeRunner
) -> None:
    known = KnownInstalls(
        {
            whose: replace(INSTALL, tenant_id=tenant, ui_label=whose)
            for whose, tenant in (("Theirs", "acme"), ("Our own", "dev"))
        }
    )
    async with running(in_front_of(runner), known) as gateway:
        await tab.goto(f"{gateway.url}/gateway/")
        theirs, own = (tab.get_by_role("article").filter(has_text=one) for one in known.installs)
        await theirs.get_by_text("Try it").click()
        await expect(theirs.get_by_text("belongs to another tenant")).to_be_visible()
        for card, count in ((theirs, 0), (own, 1)):
            await expect(card.locator("form")).to_have_count(count)
            await expect(card.get_by_role("link", name="Open its page")).to_have_count(count)


async def test_the_token_is_asked_for_and_kept_for_the_tab_alone(
    tab: Page, runner: FakeRunner
) -> None:
    async with running(in_front_of(runner, GATEWAY_ADMIN_TOKEN=TOKEN)) as gateway:
        await tab.goto(f"{gateway.url}/gateway/")
        field = tab.get_by_label("Admin token")
        await expect(field).to_be_focused()
        await field.fill("wrong")
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#login-why")).to_contain_text("not this gateway's admin token")
        await field.fill(TOKEN)
        await tab.keyboard.press("Enter")
        await is_live(tab)
        await tab.reload()
        await is_live(tab)
        assert TOKEN not in await tab.content()
        assert await tab.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        await tab.get_by_role("button", name="Forget the token").click()
        await expect(field).to_be_visible()


async def test_a_gateway_that_comes_back_is_found_again(
    tab: Page, gateway: Gateway, runner: FakeRunner
) -> None:
    await tab.goto(f"{gateway.url}/gateway/")
    await is_live(tab)
    await tab.context.set_offline(True)
    await tab.evaluate(HIDE % "true")
    await tab.evaluate(HIDE % "false")
    await expect(tab.locator("#connection")).to_have_text("Not connected", timeout=WAIT_MS)
    await tab.context.set_offline(False)
    await is_live(tab)


async def test_a_tab_that_nobody_sees_holds_no_connection(tab: Page, gateway: Gateway) -> None:
    await tab.goto(f"{gateway.url}/gateway/")
    await is_live(tab)
    async with tab.expect_event("requestfailed", lambda request: request.url.endswith("/live")):
        await tab.evaluate(HIDE % "true")
    await tab.evaluate(HIDE % "false")
    await is_live(tab)


async def test_after_a_thousand_requests_the_page_is_no_larger(tab: Page, gateway: Gateway) -> None:
    await tab.goto(f"{gateway.url}/gateway/")
    await is_live(tab)
    sizes = []
    for _ in range(2):
        for _ in range(30):
            await asyncio.gather(*(call(gateway, f"/nowhere/{index}") for index in range(20)))
        await call(gateway, **{"X-Request-Id": "last"})
        await expect(tab.locator("#lines tr").first).to_contain_text("last", timeout=WAIT_MS)
        sizes.append(await tab.evaluate("document.querySelectorAll('*').length"))
    assert await tab.locator("#lines tr").count() == 30
    assert sizes[1] <= sizes[0] + 20


async def test_long_routes_do_not_push_what_follows_them_out_of_sight(
    browser: Browser, gateway: Gateway
) -> None:
    for path in (HELLO, f"/runner/ext-ui/registry-1/{HASH}/no.js", "/api/ext/acme.crm/nowhere"):
        await call(gateway, path)
    await call(gateway, "/gateway/v1/extensions/nobody/ui-url")
    page = await browser.new_page(viewport=ViewportSize(width=1280, height=800))
    await page.goto(f"{gateway.url}/gateway/")
    await is_live(page)
    await expect(page.locator("#codes")).to_contain_text("/{content_hash}/{path}")
    for box in await page.locator(".scroll").all():
        hidden = await box.evaluate("(each) => each.scrollWidth - each.clientWidth")
        assert hidden == 0, await box.inner_text()
    await page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
async def test_the_page_fits_and_every_control_has_a_name(
    browser: Browser, gateway: Gateway, scheme: str, width: int
) -> None:
    await call(gateway)
    page = await browser.new_page(
        viewport=ViewportSize(width=width, height=800),
        color_scheme="dark" if scheme == "dark" else "light",
    )
    await page.goto(f"{gateway.url}/gateway/")
    await is_live(page)
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert await page.evaluate(UNNAMED_CONTROLS) == []
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.close()
