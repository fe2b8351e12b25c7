"""An extension page written with the packages that extension authors use, unchanged."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.async_api import FrameLocator, Page, expect

from backends.bundles.pack import pack
from gateway.installs.changes import install_bundle
from tests.browser.conftest import CLIENTS, HELLO, StartGateway
from tests.rigs.nextjs import TENANT, NextApp
from tests.rigs.npm import node_modules, npm_environ, run

pytestmark = [pytest.mark.browser, pytest.mark.node]

BUNDLE_S = 60


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder with example.clients: the sample's handler behind that page."""
    folder = tmp_path_factory.mktemp("clients")
    for name in ("index.html", "page.jsx"):
        shutil.copy(CLIENTS / name, folder / name)
    (folder / "node_modules").symlink_to(node_modules(CLIENTS))
    run(
        "esbuild",
        *("node_modules/.bin/esbuild", "page.jsx", "--bundle", "--outfile=page.js"),
        *("--jsx=automatic", '--define:process.env.NODE_ENV="production"'),
        cwd=folder,
        environ=npm_environ(),
        limit=BUNDLE_S,
    )
    extension = folder / "extension"
    shutil.copytree(HELLO, extension, ignore=shutil.ignore_patterns("node_modules", "ui"))
    (extension / "ui").mkdir()
    for name in ("index.html", "page.js"):
        shutil.copy(folder / name, extension / "ui" / name)
    tokens = folder / "node_modules/@alga-psa/ui-kit/src/theme/tokens.css"
    shutil.copy(tokens, extension / "ui" / "tokens.css")
    manifest = json.loads((extension / "manifest.json").read_text())
    (extension / "manifest.json").write_text(json.dumps({**manifest, "name": "clients"}))
    archive = folder / "bundle.tar.zst"
    pack(extension, archive)
    root = tmp_path_factory.mktemp("bundles")
    install_bundle(root, archive, tenant=TENANT)
    return root


@pytest.mark.parametrize("app", ["dev"], indirect=True)
async def test_the_published_packages_find_the_host_that_they_expect(
    page: Page, app: NextApp, start_gateway: StartGateway
) -> None:
    async with start_gateway(RUNNER_BACKEND="embedded"):
        await page.goto(f"{app.url}/?extension=example.clients")
        frame = page.frame_locator("iframe")
        await expect(frame.get_by_text("bootstrapped")).to_be_visible()  # ready was answered

        for button, answer in (
            ("Hello", '"greeting":'),
            ("Visit", '{"visits":1}'),
            ("Echo", '{"text":"Grüße"}'),
            ("Nowhere", "Error: Proxy error 404: "),
        ):
            await frame.get_by_role("button", name=button).click()
            await expect(frame.locator("output")).to_contain_text(answer)

        await frame.get_by_role("button", name="Grow").click()
        await expect(page.locator("iframe")).to_have_css("height", "640px")

        light = await background(frame)
        await page.get_by_role("button", name="Light or dark").click()
        await expect(frame.locator("html")).not_to_have_attribute("style", light)

        await frame.get_by_role("button", name="Navigate").click()
        await expect(frame.get_by_text("At /items/7")).to_be_visible()


async def background(frame: FrameLocator) -> str:
    style = await frame.locator("html").get_attribute("style")
    assert style is not None
    assert "--alga-bg" in style
    return style
