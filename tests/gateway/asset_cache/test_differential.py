"""Whatever is asked, the cache answers what the runner would have answered itself.

The other side is the embedded backend's own file server: it knows every precondition and
range. Compression is undone before comparing, since only the cache does it.
"""

import gzip
import os
import re
from collections.abc import AsyncIterator, Callable
from importlib import import_module

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.bundles.store import BundleStore
from backends.embedded.assets import AssetFiles
from gateway.asset_cache.cache import AssetCache
from gateway.asset_cache.variants import CODINGS
from tests.backends.archives import entries, entry, write_archive
from tests.backends.calls import TENANT, asset_request
from tests.gateway.asset_cache.rig import MIB, SCRIPT, Answer, whole

EDGE = b" " * 1024
FILES = {
    "app.js": SCRIPT,
    "small.css": b"a{}",
    "empty.css": b"",
    "edge.json": EDGE,
    "noise.wasm": os.urandom(300_000),
}
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
    "br": lambda content: bytes(import_module("brotli").decompress(content)),
}

positions = st.integers(0, 12) | st.integers(0, 400_000)
ranges = st.one_of(
    st.builds("bytes={}-{}".format, positions, positions),
    st.builds("bytes={}-".format, positions),
    st.builds("bytes=-{}".format, positions),
    st.builds("bytes={}-{},{}-".format, positions, positions, positions),
    st.sampled_from(["bytes=-", "bytes=", "lines=0-1", "bytes=a-b", " BYTES=0-0 "]),
)
# "{}" stands for the file's own tag.
tags = st.sampled_from(['"other"', '"sha256-{}"', 'W/"sha256-{}"', '"sha256-{}-x"', "sha256-{}"])
conditions = st.lists(tags, min_size=1, max_size=3).map(", ".join) | st.sampled_from(["*", " ", ""])
accepted = st.lists(
    st.sampled_from(["gzip", "zstd", "zstd;q=0.5", "gzip;q=0", "*", "identity", "identity;q=0"]),
    max_size=3,
).map(", ".join)
questions = st.fixed_dictionaries(
    {},
    optional={
        "range": ranges,
        "if-none-match": conditions,
        "if-range": tags | st.just("Sat, 29 Oct 1994 19:43:31 GMT"),
        "accept-encoding": accepted,
    },
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> tuple[AssetFiles, str]:
    folder = tmp_path_factory.mktemp("store")
    store = BundleStore(folder / "store")
    others = [each for each in entries() if each[0].name != "ui/app.js"]
    content = [*others, *(entry(f"ui/{name}", body) for name, body in FILES.items())]
    bundle = store.add(write_archive(folder / "archive", content))
    files = AssetFiles(
        store, content_security_policy=None, frame_ancestors=None, max_asset_bytes=None
    )
    return files, bundle.content_hash


@pytest.fixture
async def cache(server: tuple[AssetFiles, str]) -> AsyncIterator[AssetCache]:
    """Warm: every file is in it, in every coding."""
    files, content_hash = server
    cache = AssetCache(max_bytes=128 * MIB)
    for name in FILES:
        for accepted in ("identity", *CODINGS):
            request = asset_request(
                name, content_hash=content_hash, headers=(("accept-encoding", accepted),)
            )
            await whole(await cache.fetch(request, TENANT, files.fetch))
            await cache.settled()
    yield cache
    await cache.aclose()


def comparable(answer: Answer) -> dict[str, object]:
    """What a client makes of an answer, compression undone."""
    told: dict[str, object] = {"status": answer.status, "body": answer.body}
    names = ["content-range", "content-length", "etag"]
    if answer.status in (200, 206):
        names += ["content-type", "x-content-type-options"]
    told |= {name: answer.headers[name] for name in names if name in answer.headers}
    told["etag"] = re.sub(r'-(gzip|zstd|br)"', '"', answer.headers["etag"])
    coding = answer.headers.get("content-encoding")
    if coding is None:
        return told
    assert answer.status == 200
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["etag"].endswith(f'-{coding}"')
    plain = SCRIPT if told["content-type"] == "text/javascript" else EDGE
    told["content-length"] = str(len(plain))
    if answer.body:
        assert answer.headers["content-length"] == str(len(answer.body))
        told["body"] = DECODERS[coding](answer.body)
    return told


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(sorted(FILES)), question=questions)
async def test_an_answer_from_the_cache_is_the_runners_own(
    cache: AssetCache,
    server: tuple[AssetFiles, str],
    method: str,
    name: str,
    question: dict[str, str],
) -> None:
    files, content_hash = server
    tag = (await files.fetch(asset_request(name, content_hash=content_hash))).headers
    sha256 = dict(tag)["etag"][8:-1]
    fields = tuple((field, value.replace("{}", sha256)) for field, value in question.items())
    request = asset_request(name, content_hash=content_hash, method=method, headers=fields)
    before = cache.stats()
    answered = await whole(await cache.fetch(request, TENANT, files.fetch))
    after = cache.stats()
    expected = await whole(await files.fetch(request))
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
    assert comparable(answered) == comparable(expected)
