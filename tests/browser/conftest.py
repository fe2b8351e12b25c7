"""A browser, the example app in front of it, and behind the app whatever gateway a test starts."""

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from backends.bundles.pack import pack
from gateway.installs.changes import install_bundle
from tests.journeys.process import GatewayProcess, gateway_process
from tests.rigs.nextjs import PROXY_KEY, TENANT, NextApp, free_port, serving

HELLO = Path(__file__).parents[2] / "examples" / "hello"
CLIENTS = Path(__file__).parent / "clients"  # what tests have of npm, and a page made of it
WAIT_MS = 60_000  # the first visit of a page compiles it, beside whatever else the machine does
expect.set_options(timeout=WAIT_MS)

StartGateway = Callable[..., AbstractAsyncContextManager[GatewayProcess]]


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder with example.hello and example.other, which are twins."""
    root = tmp_path_factory.mktemp("bundles")
    other = tmp_path_factory.mktemp("other") / "other"
    shutil.copytree(HELLO, other, ignore=shutil.ignore_patterns("node_modules"))
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "name": "other"}))
    for source in (HELLO, other):
        archive = tmp_path_factory.mktemp("packed") / "bundle.tar.zst"
        pack(source, archive)
        install_bundle(root, archive, tenant=TENANT)
    return root


@pytest.fixture(scope="session", params=["dev", "start"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NextApp]:
    """The app by `next dev`, while somebody works on it, and by `next start`, once it is built."""
    folder = tmp_path_factory.mktemp("nextjs") / "app"
    with serving(folder, gateway_port=free_port(), mode=request.param) as running:
        yield running


@pytest.fixture
def start_gateway(app: NextApp, bundle_dir: Path, tmp_path: Path) -> StartGateway:
    """Starts the app's gateway with these variables in its env file."""

    tls = {}
    if app.tls is not None:
        tls = {
            "GATEWAY_TLS_CERT": str(app.tls.server),
            "GATEWAY_TLS_KEY": str(app.tls.server_key),
        }

    def start(
        port: int = app.gateway_port, bundle_dir: Path = bundle_dir, **variables: str
    ) -> AbstractAsyncContextManager[GatewayProcess]:
        return gateway_process(
            tmp_path,
            environ={
                "GATEWAY_PORT": str(port),
                "GATEWAY_AUTH": "proxy",
                "GATEWAY_PROXY_KEY": PROXY_KEY,
                "RUNNER_BUNDLE_DIR": str(bundle_dir),
                **tls,
            },
            env_file=variables,
        )

    return start


@asynccontextmanager
async def chromium(*more: str) -> AsyncIterator[Browser]:
    """Chromium as the system has it, started with `more` on its command line."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=found,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                *more,
            ],
        )
        yield running
        await running.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser as it comes."""
    async with chromium() as running:
        yield running


@pytest.fixture
async def visitor(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile that has never seen the app."""
    context = await browser.new_context(viewport={"width": 1000, "height": 900})
    context.set_default_timeout(WAIT_MS)
    yield context
    await context.close()


@pytest.fixture
async def page(visitor: BrowserContext, app: NextApp) -> Page:
    """An empty tab of somebody who is signed in to the app."""
    await visitor.add_cookies(
        [
            {
                "name": "session",
                "value": app.session_cookie,
                "url": app.url,
                "httpOnly": True,
                "sameSite": "Lax",
            },
            {"name": "readable", "value": "by-scripts", "url": app.url},
        ]
    )
    return await visitor.new_page()


@pytest.fixture
async def client(app: NextApp) -> AsyncIterator[ClientSession]:
    """Somebody signed in, whose program shows what was on the wire."""
    headers = {"Cookie": f"session={app.session_cookie}", "Sec-Fetch-Site": "same-origin"}
    async with ClientSession(app.url, headers=headers, auto_decompress=False) as session:
        yield session
