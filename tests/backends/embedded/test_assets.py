"""UI files of real bundles, as a backend is asked for them."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from backends.bundles.extracted import Bundle
from backends.bundles.store import BundleStore
from backends.embedded.assets import DEFAULT_CONTENT_SECURITY_POLICY
from backends.embedded.file_stream import CHUNK_BYTES, FileStream
from backends.embedded.ui_file import SMALL_FILE_BYTES
from backends.errors import (
    AssetNotFound,
    AssetPathRefused,
    Phase,
    RunnerProtocolError,
    RunnerRefusedSize,
    RunnerTimeout,
)
from tests.backends.archives import FILES, MANIFEST, entries, write_archive
from tests.backends.embedded.asset_calls import APP, LARGE, PAGE, ask, asset_files, body_of, fetch


@pytest.fixture
async def busy_disk() -> AsyncIterator[threading.Event]:
    """The one thread for files is busy until the event is set, as with a disk that stalls."""
    go = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    stalled = loop.run_in_executor(None, go.wait, 30)
    yield go
    go.set()
    await stalled


async def all_threads_done() -> None:
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0)  # what the last thread called back runs


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def test_a_file_is_answered_with_its_validators(store: BundleStore, bundle: Bundle) -> None:
    response = await fetch(store, bundle, "app.js")

    assert response.status == 200
    assert response.body == APP
    assert dict(response.headers) == {
        "content-type": "text/javascript",
        "content-length": str(len(APP)),
        "etag": f'"sha256-{hashlib.sha256(APP).hexdigest()}"',
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
    }


async def test_the_page_carries_its_charset_and_policy(store: BundleStore, bundle: Bundle) -> None:
    headers = dict((await fetch(store, bundle, "index.html")).headers)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"] == DEFAULT_CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("path", ["", "settings", "users/7/", "help", "v1.2/page", "app.js/route"])
async def test_a_route_of_the_pages_own_router_answers_the_page(
    store: BundleStore, bundle: Bundle, path: str
) -> None:
    response = await fetch(store, bundle, path)
    assert (response.status, response.body) == (200, PAGE)


@pytest.mark.parametrize("path", ["missing.js", "app.css", "folder.js", "help/missing.html"])
async def test_a_missing_file_is_not_mistaken_for_a_route(
    store: BundleStore, bundle: Bundle, path: str
) -> None:
    with pytest.raises(AssetNotFound) as caught:
        await fetch(store, bundle, path)
    assert caught.value.reason == "no_such_file"


async def test_a_file_without_an_extension_is_served_as_bytes(
    store: BundleStore, bundle: Bundle
) -> None:
    response = await fetch(store, bundle, "LICENSE")
    assert response.body == b"do as you like"
    assert dict(response.headers)["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "path", ["../bundle/manifest.json", "%2e%2e/.ready", "a%2fb.js", "users/jane.doe", "/app.js"]
)
async def test_a_path_that_breaks_a_rule_is_refused(
    store: BundleStore, bundle: Bundle, path: str
) -> None:
    with pytest.raises(AssetPathRefused):
        await fetch(store, bundle, path)


# Streams


async def test_a_large_file_is_streamed_in_chunks(store: BundleStore, bundle: Bundle) -> None:
    response = await fetch(store, bundle, "large.wasm")
    assert isinstance(response.body, FileStream)
    chunks = [chunk async for chunk in response.body]
    assert b"".join(chunks) == LARGE
    assert max(map(len, chunks)) == CHUNK_BYTES


async def test_a_file_at_the_limit_is_still_answered_as_bytes(
    store: BundleStore, bundle: Bundle
) -> None:
    response = await fetch(store, bundle, "edge.wasm")
    assert response.body == LARGE[:SMALL_FILE_BYTES]


async def test_no_descriptor_stays_open_however_a_stream_ends(
    store: BundleStore, bundle: Bundle
) -> None:
    before = open_descriptors()
    await fetch(store, bundle, "app.js")
    for end in ("exhausted", "closed early", "never started", "head", "not modified"):
        method = "HEAD" if end == "head" else "GET"
        fields = {"if_none_match": "*"} if end == "not modified" else {}
        response = await fetch(store, bundle, "large.wasm", method, **fields)
        if end == "exhausted":
            await body_of(response)
        if isinstance(response.body, FileStream):
            if end == "closed early":
                await anext(response.body)
            await response.body.aclose()
            await response.body.aclose()
    assert open_descriptors() == before


async def test_a_file_stays_open_as_long_as_a_thread_may_read_it(
    tmp_path: Path, busy_disk: threading.Event
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    descriptor = os.open(path, os.O_RDONLY)
    stream = FileStream(descriptor, offset=0, length=7)
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)  # the read is handed to the thread

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    os.fstat(descriptor)  # closed now, the thread would read whatever gets its number next

    busy_disk.set()
    await all_threads_done()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_a_file_cut_short_under_the_stream_is_a_visible_failure(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short")
    stream = FileStream(os.open(path, os.O_RDONLY), offset=0, length=100)
    assert await anext(stream) == b"short"
    with pytest.raises(RunnerProtocolError) as caught:
        await anext(stream)
    assert (caught.value.reason, caught.value.phase) == ("file_truncated", Phase.BODY)


# Conditions and ranges


async def test_an_edited_file_gets_a_tag_of_its_own(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    bundle = store.add(write_archive(tmp_path / "a", entries()))
    files = asset_files(store)
    before = dict((await files.fetch(ask(bundle, "app.js"))).headers)["etag"]
    path = bundle.ui_root / "app.js"
    path.unlink()
    path.write_bytes(b"edited by hand")
    after = dict((await files.fetch(ask(bundle, "app.js"))).headers)["etag"]
    assert after == f'"sha256-{hashlib.sha256(b"edited by hand").hexdigest()}"' != before


# Policies


@pytest.mark.parametrize(
    ("replacement", "ancestors", "policy"),
    [
        (None, None, DEFAULT_CONTENT_SECURITY_POLICY),
        (" ", " ", DEFAULT_CONTENT_SECURITY_POLICY),
        (None, "'self'", f"{DEFAULT_CONTENT_SECURITY_POLICY}; frame-ancestors 'self'"),
        (" default-src 'none' ", "'self'", "default-src 'none'"),
        ("default-src 'none'\r\nset-cookie: a=b", None, DEFAULT_CONTENT_SECURITY_POLICY),
    ],
)
async def test_the_policy_is_the_operators_or_the_default(
    store: BundleStore,
    bundle: Bundle,
    replacement: str | None,
    ancestors: str | None,
    policy: str,
) -> None:
    files = asset_files(store, content_security_policy=replacement, frame_ancestors=ancestors)
    response = await files.fetch(ask(bundle, ""))
    assert dict(response.headers)["content-security-policy"] == policy


# Failures


async def test_a_bundle_that_is_not_there_is_told_apart_from_a_missing_file(
    bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(AssetNotFound) as caught:
        await fetch(BundleStore(tmp_path), bundle, "app.js")
    assert caught.value.reason == "bundle_not_found"


async def test_a_corrupt_bundle_is_the_runners_fault(bundle: Bundle, tmp_path: Path) -> None:
    digest = bundle.content_hash.removeprefix("sha256:")
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / f"{digest}.tar.zst").write_bytes(b"something else")
    with pytest.raises(RunnerProtocolError) as caught:
        await fetch(BundleStore(tmp_path), bundle, "app.js")
    assert (caught.value.reason, caught.value.phase) == ("archive_hash_mismatch", Phase.ADMIT)


async def test_a_bundle_without_a_page_answers_no_route(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    manifest = {name: value for name, value in MANIFEST.items() if name != "ui"}
    rest = {**FILES, "manifest.json": orjson.dumps(manifest)}
    del rest["ui/index.html"]
    bundle = store.add(write_archive(tmp_path / "a", entries(rest)))
    with pytest.raises(AssetNotFound):
        await fetch(store, bundle, "")


async def test_a_file_above_the_limit_is_refused(store: BundleStore, bundle: Bundle) -> None:
    files = asset_files(store, max_asset_bytes=len(APP))
    assert (await files.fetch(ask(bundle, "app.js"))).status == 200
    with pytest.raises(RunnerRefusedSize) as caught:
        await files.fetch(ask(bundle, "large.wasm"))
    assert caught.value.reason == "asset_too_large"


async def test_a_disk_that_does_not_answer_is_a_timeout_and_leaks_nothing(
    store: BundleStore, bundle: Bundle, busy_disk: threading.Event
) -> None:
    before = open_descriptors()
    request = replace(ask(bundle, "large.wasm"), timeout_s=0.01)
    with pytest.raises(RunnerTimeout) as caught:
        await asset_files(store).fetch(request)
    assert caught.value.phase is Phase.FIRST_BYTE

    busy_disk.set()
    await all_threads_done()
    assert open_descriptors() == before


async def test_a_caller_who_leaves_leaks_nothing(
    store: BundleStore, bundle: Bundle, busy_disk: threading.Event
) -> None:
    before = open_descriptors()
    fetching = asyncio.ensure_future(fetch(store, bundle, "large.wasm"))
    await asyncio.sleep(0)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching

    busy_disk.set()
    await all_threads_done()
    assert open_descriptors() == before


async def test_a_drawing_opened_as_a_document_has_a_policy_too(
    store: BundleStore, bundle: Bundle
) -> None:
    response = await fetch(store, bundle, "drawing.svg")
    assert dict(response.headers)["content-security-policy"] == DEFAULT_CONTENT_SECURITY_POLICY
