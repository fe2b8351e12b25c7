"""The whole stack with the example app: one origin, from the app's container to the runner's."""

import asyncio
import base64
import hmac
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from html import unescape
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.docker.stack import HELLO, ROOT, USER, Stack, free_port
from tests.rigs.docker.commands import run
from tests.rigs.docker.engine import Engine
from tests.rigs.docker.node_image import build_node_image

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

INSTALL_S = 300.0


@pytest.fixture(scope="module")
def stack_with_app(engine: Engine, stack: Stack) -> Stack:
    """The stack after `scripts/dev up --app`."""
    if engine.daemon is not None:
        stack.environ["NODE_IMAGE"] = build_node_image(engine.environ)
    stack.environ["STACK_APP_PORT"] = str(free_port())
    app = stack.folder / "examples" / "nextjs"
    if os.geteuid() == 0:
        os.chown(app, USER, USER)
    # As the app's container would at its first start, which here has no way out.
    run(
        "docker", "run", "--rm", "--network=host", f"--user={stack.env_file()['STACK_USER']}",
        "--read-only", "--tmpfs=/tmp", "--env=HOME=/tmp", f"--volume={app}:/app", "--workdir=/app",
        stack.environ.get("NODE_IMAGE", "node:22-slim"), "npm", "ci", "--no-audit", "--no-fund",
        environ=stack.environ, timeout_s=INSTALL_S,
    )  # fmt: skip
    stack.up_app()
    return stack


@pytest.fixture
async def visitor(stack_with_app: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of somebody who is signed in to the app."""
    secret = stack_with_app.env_file()["APP_SESSION_SECRET"]
    digest = base64.urlsafe_b64encode(hmac.digest(secret.encode(), b"ada", "sha256"))
    headers = {
        "Cookie": f"session=ada.{digest.rstrip(b'=').decode()}",
        "Sec-Fetch-Site": "same-origin",
    }
    timeout = aiohttp.ClientTimeout(total=60)
    origin = f"http://127.0.0.1:{stack_with_app.environ['STACK_APP_PORT']}"
    async with aiohttp.ClientSession(origin, headers=headers, timeout=timeout) as session:
        yield session


async def test_handlers_and_pages_are_on_the_apps_own_origin(
    visitor: aiohttp.ClientSession,
) -> None:
    async with visitor.get(HELLO) as answer:
        assert answer.status == 200
        assert answer.headers["x-runner-backend"] == "docker"
        assert (await answer.json())["tenant"] == "dev"
    page = await page_of(visitor)
    async with visitor.get(page) as answer:
        assert answer.status == 200
        assert answer.headers["x-runner-backend"] == "docker"
        assert "ext-ui-reload/page.js" in await answer.text()
    async with visitor.get(page.join(URL("../../../ext-ui-reload/page.js"))) as answer:
        assert (answer.status, answer.content_type) == (200, "text/javascript")


async def test_an_open_page_hears_through_the_app_what_bundle_dev_has_installed(
    stack_with_app: Stack, visitor: aiohttp.ClientSession, tmp_path: Path
) -> None:
    page = await page_of(visitor)
    _, _, _, extension, shown, _ = page.path.split("/")
    changes = URL(f"/runner/ext-ui-reload/{extension}/{shown}/changes")
    async with visitor.get(changes.with_query({"_ext": page.query["_ext"]})) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        folder = tmp_path / "hello"
        shutil.copytree(
            ROOT / "examples" / "hello", folder, ignore=shutil.ignore_patterns("node_*")
        )
        with (folder / "ui" / "index.html").open("a") as file:
            file.write("<!-- saved beside the app -->")
        watching = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "bundle", "dev", str(folder), "--tenant", "*",
            cwd=stack_with_app.folder,
            env=stack_with_app.host_environ(),
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            event = await _event(answer)
        finally:
            watching.kill()
            await watching.wait()
    assert event["contentHash"] != shown


async def test_the_app_ends_in_order_when_it_is_asked_to(stack_with_app: Stack) -> None:
    await stack_with_app.compose("--profile", "app", "stop", "app")
    ended = await stack_with_app.docker(
        "inspect", "--format", "{{.State.ExitCode}}", await stack_with_app.container("app")
    )
    assert ended.strip() == "0"  # npm in between would make it 1


async def page_of(visitor: aiohttp.ClientSession) -> URL:
    """The address of the extension's page, as the app's own page names it."""
    async with visitor.get("/") as answer:
        assert answer.status == 200
        text = unescape(await answer.text()).replace("\\u0026", "&")
    found = re.search(r'/runner/ext-ui/[^"\\ ]+', text)
    assert found is not None, text
    return URL(found[0], encoded=True)


async def _event(answer: aiohttp.ClientResponse) -> Mapping[str, str]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            document: Mapping[str, str] = json.loads(line.removeprefix(b"data: "))
            return document
    raise AssertionError("the stream ended without an event")
