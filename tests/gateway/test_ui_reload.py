"""Pages that reload by themselves: only while that is switched on, and only pages."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse, ClientSession
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from backends.bundles.pack import pack
from backends.contract import AssetResponse
from gateway.installs.changes import install_bundle
from gateway.keys import RELOADER, STATE
from gateway.ui_reload import MAX_WATCHERS, with_script
from tests.fakes.runner import FakeRunner, UiFile
from tests.gateway.harness import HASH, INSTALL, Gateway, KnownInstalls, in_front_of, running
from tests.journeys.process import gateway_process

pytestmark = pytest.mark.timeout(30)  # a stream that should have ended never does

HELLO = Path(__file__).parents[2] / "examples" / "hello"
NEXT = "sha256:" + "cd" * 32
BUNDLE = f"/runner/ext-ui/registry-1/{HASH}"
CHANGES = f"/runner/ext-ui-reload/registry-1/{HASH}/changes"
KEY = "a-long-enough-proxy-key"
OURS = re.compile(rb'<script src="(?P<address>[./]*ext-ui-reload/page\.js)"></script>')


@pytest.fixture
def installs() -> KnownInstalls:
    names = ("acme.crm", "registry-1")
    return KnownInstalls({name: INSTALL for name in names})


def install_next(installs: KnownInstalls) -> None:
    installs.installs = {
        name: replace(one, content_hash=NEXT) for name, one in installs.installs.items()
    }


@asynccontextmanager
async def switched_on(
    runner: FakeRunner, installs: KnownInstalls, **more: str
) -> AsyncIterator[Gateway]:
    async with running(in_front_of(runner, EXT_UI_RELOAD="true", **more), installs) as gateway:
        yield gateway


async def got(gateway: Gateway, path: str, **headers: str) -> tuple[bytes, dict[str, str]]:
    async with gateway.client.get(gateway.url + path, headers=headers) as answer:
        assert answer.status == 200
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return await answer.read(), fields


async def events(answer: ClientResponse) -> AsyncIterator[dict[str, Any]]:
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


async def test_switched_off_a_page_is_the_runners_and_nothing_is_at_our_addresses(
    runner: FakeRunner, installs: KnownInstalls
) -> None:
    async with running(in_front_of(runner), installs) as gateway:
        body, fields = await got(gateway, f"{BUNDLE}/index.html")
        assert body == runner.files["index.html"].body
        assert fields["etag"] == runner.files["index.html"].etag
        unknown = await gateway.problem("GET", "/runner/nothing/is/here")
        for path in (CHANGES, "/runner/ext-ui-reload/page.js", CHANGES.removeprefix("/runner")):
            status, problem = await gateway.problem("GET", path)
            assert status == unknown[0]
            assert problem | {"requestId": ""} == unknown[1] | {"requestId": ""}


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("index.html", "../../../ext-ui-reload/page.js"),
        ("customers/one", "../../../../ext-ui-reload/page.js"),
    ],
)
async def test_a_page_carries_the_script_by_an_address_that_no_proxy_breaks(
    runner: FakeRunner, installs: KnownInstalls, path: str, address: str
) -> None:
    async with switched_on(runner, installs) as gateway:
        body, fields = await got(gateway, f"{BUNDLE}/{path}")
        (found,) = OURS.finditer(body)
        assert found["address"].decode() == address
        assert body.replace(found[0], b"") == runner.files["index.html"].body
        assert fields["content-length"] == str(len(body))
        assert fields["cache-control"] == "no-cache"
        assert "script-src 'self'" in fields["content-security-policy"]
        script = URL(f"{gateway.url}{BUNDLE}/{path}").join(URL(address))
        async with gateway.client.get(script) as answer:
            assert (answer.status, answer.content_type) == (200, "text/javascript")
            assert b"EventSource" in await answer.read()


async def test_a_page_with_our_script_is_never_taken_for_the_one_without(
    runner: FakeRunner, installs: KnownInstalls
) -> None:
    known = runner.files["index.html"].etag
    async with switched_on(runner, installs) as gateway:
        asked = {"If-None-Match": known, "Accept-Encoding": "gzip", "Range": "bytes=0-3"}
        body, fields = await got(gateway, f"{BUNDLE}/index.html", **asked)
        assert OURS.search(body)
        assert "etag" not in fields
        async with gateway.client.head(f"{gateway.url}{BUNDLE}/index.html") as answer:
            assert answer.headers["content-length"] == str(len(body))
    sent = runner.assets[0].headers
    assert not {"if-none-match", "accept-encoding", "range"} & {name.lower() for name in sent}


async def test_whatever_is_no_page_is_as_it_was(
    runner: FakeRunner, installs: KnownInstalls
) -> None:
    async with switched_on(runner, installs) as gateway:
        body, fields = await got(gateway, f"{BUNDLE}/app.js")
        assert body == runner.files["app.js"].body
        assert "etag" in fields
        assert fields["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_compressed_page_is_as_it_was(runner: FakeRunner, installs: KnownInstalls) -> None:
    packed = UiFile(body=b"\x1f\x8b, say", headers={"content-encoding": "gzip"})
    runner.files["index.html"] = packed
    async with switched_on(runner, installs) as gateway:
        assert (await got(gateway, f"{BUNDLE}/index.html"))[0] == packed.body


async def test_behind_a_runner_that_has_it_on_too_a_page_carries_one_script(
    tmp_path: Path,
) -> None:
    bundles = tmp_path / "bundles"
    pack(HELLO, tmp_path / "hello.tar.zst")
    install = install_bundle(bundles, tmp_path / "hello.tar.zst", tenant="dev")
    on = {"EXT_UI_RELOAD": "true", "RUNNER_BUNDLE_DIR": str(bundles)}
    folder = tmp_path / "runner"
    folder.mkdir()
    async with (
        gateway_process(folder, "runner", "--port", "0", environ=on, env_file={}) as remote,
        gateway_process(
            tmp_path,
            environ={"RUNNER_BACKEND": "docker", "RUNNER_DOCKER_HOST": remote.url, **on},
            env_file={},
        ) as gateway,
        ClientSession() as client,
    ):
        page = f"/ext-ui/{install.registry_id}/{install.content_hash}/index.html"
        async with client.get(gateway.url + page) as answer:
            assert len(OURS.findall(await answer.read())) == 1
        async with client.get(remote.url + page) as answer:
            assert not OURS.search(await answer.read())


async def test_an_open_page_is_told_of_the_next_install_once(
    runner: FakeRunner, installs: KnownInstalls
) -> None:
    async with (
        switched_on(runner, installs) as gateway,
        gateway.client.get(gateway.url + CHANGES) as answer,
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert await answer.content.readline() == b": waiting\n"
        install_next(installs)
        told = [event async for event in events(answer)]
    assert told == [{"contentHash": NEXT, "signed": None}]


async def test_a_page_whose_address_proves_its_tenant_is_told_the_next_proof(
    runner: FakeRunner, installs: KnownInstalls
) -> None:
    proxy = {"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": KEY}
    async with switched_on(runner, installs, **proxy) as gateway:
        resolve = f"{gateway.url}/gateway/v1/extensions/acme.crm/ui-url"
        headers = {"x-gateway-key": KEY, "x-alga-tenant": "t-1"}
        async with gateway.client.get(resolve, headers=headers) as answer:
            page = URL(gateway.url + (await answer.json())["url"], encoded=True)
        assert (await gateway.problem("GET", CHANGES))[0] == 404

        changes = f"{gateway.url}{CHANGES}?_ext={quote(page.query['_ext'])}"
        async with gateway.client.get(URL(changes, encoded=True)) as answer:
            install_next(installs)
            (event,) = [event async for event in events(answer)]
        moved = page.with_query({"_ext": event["signed"]})
        moved = moved.with_path(page.path.replace(HASH, NEXT), keep_query=True)
        async with gateway.client.get(moved) as answer:
            assert answer.status == 200
    assert runner.assets[-1].headers["x-tenant-id"] == "t-1"


async def test_no_more_pages_wait_than_there_are_places(
    runner: FakeRunner, installs: KnownInstalls
) -> None:
    async with switched_on(runner, installs) as gateway:
        async with asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(gateway.client.get(gateway.url + CHANGES))
                for _ in range(MAX_WATCHERS)
            ]
        status, problem = await gateway.problem("GET", CHANGES)
        assert (status, problem["error"]) == (503, "runner_overloaded")
        for each in waiting:
            each.result().close()


async def test_waiting_ends_when_the_gateway_stops_and_when_it_is_switched_off(
    runner: FakeRunner, installs: KnownInstalls
) -> None:
    async with switched_on(runner, installs) as gateway:
        async with gateway.client.get(gateway.url + CHANGES) as answer:
            gateway.environ["EXT_UI_RELOAD"] = "false"
            await gateway.app[RELOADER].reload()
            assert [event async for event in events(answer)] == []
        gateway.environ["EXT_UI_RELOAD"] = "true"
        await gateway.app[RELOADER].reload()
        async with gateway.client.get(gateway.url + CHANGES) as answer:
            gateway.app[STATE].stopping = True
            assert [event async for event in events(answer)] == []


@given(before=st.binary(max_size=64), after=st.binary(max_size=64), head=st.booleans())
def test_nothing_of_a_page_is_lost(before: bytes, after: bytes, head: bool) -> None:
    page = before + (b"<HEAD lang=x>" if head else b"") + after
    headers = (("content-type", "text/html"), ("content-length", str(len(page))), ("etag", '"1"'))
    response = AssetResponse(status=200, headers=headers, body=page)
    carried = asyncio.run(with_script(response, "index.html", head=False))
    assert isinstance(carried.body, bytes)
    (found,) = OURS.finditer(carried.body)
    assert carried.body[: found.start()] + carried.body[found.end() :] == page
    assert dict(carried.headers)["content-length"] == str(len(carried.body))
