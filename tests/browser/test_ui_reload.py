"""Somebody saves a file of an extension, and the page that is open shows it."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import HELLO, StartGateway
from tests.browser.test_app import framed
from tests.journeys.process import gateway_process
from tests.rigs.nextjs import TENANT, NextApp

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


class Work:
    """An extension's folder under `bundle dev`."""

    def __init__(self, folder: Path) -> None:
        self._page = folder / "ui" / "index.html"

    def save(self, heading: str) -> None:
        """Write the page in one step, with another text in its last heading."""
        before, _, rest = self._page.read_text().partition("<h2>")
        draft = self._page.parent.parent / "draft.html"
        draft.write_text(f"{before}<h2>{heading}</h2>{rest.partition('</h2>')[2]}")
        draft.replace(self._page)


@asynccontextmanager
async def bundle_dev(folder: Path, bundles: Path, tenant: str) -> AsyncIterator[Work]:
    """`python -m gateway bundle dev` on a copy of the sample, once it has installed it."""
    shutil.copytree(HELLO, folder, ignore=shutil.ignore_patterns("node_modules"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "bundle", "dev", str(folder), "--tenant", tenant,
        cwd=folder.parent,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "RUNNER_BUNDLE_DIR": str(bundles),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert (await process.stdout.readline()).startswith(b"installed")
        yield Work(folder)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("sandbox", ["false", "true"])
async def test_an_open_page_shows_what_was_saved(
    browser: Browser, tmp_path: Path, sandbox: str
) -> None:
    bundles = tmp_path / "bundles"
    async with (
        bundle_dev(tmp_path / "hello", bundles, "dev") as work,
        gateway_process(
            tmp_path,
            environ={"RUNNER_BACKEND": "embedded", "RUNNER_BUNDLE_DIR": str(bundles)},
            env_file={"EXT_UI_RELOAD": "true", "EXT_UI_SANDBOX": sandbox},
        ) as gateway,
    ):
        page = await browser.new_page()
        where = gateway.url + "/gateway/v1/extensions/example.hello/ui-url"
        url = (await (await page.request.get(where)).json())["url"]
        await page.goto(f"{gateway.url}{url}#a-place")
        for heading in ("Saved once", "Saved twice"):
            work.save(heading)
            await expect(page.locator("h2", has_text=heading)).to_be_visible()
        assert page.url.endswith("#a-place")
        assert url not in page.url


@pytest.mark.node
async def test_a_framed_page_shows_what_was_saved_and_still_talks_to_its_host(
    page: Page, app: NextApp, start_gateway: StartGateway, tmp_path: Path
) -> None:
    bundles = tmp_path / "bundles"
    environ = {"EXT_UI_RELOAD": "true", "RUNNER_BACKEND": "embedded"}
    async with (
        bundle_dev(tmp_path / "hello", bundles, TENANT) as work,
        start_gateway(bundle_dir=bundles, **environ),
    ):
        await framed(page, app, "example.hello")
        frame = page.frame_locator("iframe")
        await expect(frame.locator("#greeting")).to_have_text("Hello, Ada!")
        for heading in ("Saved once", "Saved twice"):
            work.save(heading)
            await expect(frame.locator("h2", has_text=heading)).to_be_visible()
            await expect(frame.locator("#greeting")).to_have_text("Hello, Ada!")
            await expect(frame.locator("#transport")).to_have_text("the host's bridge")
