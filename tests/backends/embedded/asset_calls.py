"""Asks for the files of one bundle, whose contents are known here."""

import os

from backends.bundles.extracted import Bundle
from backends.bundles.store import BundleStore
from backends.contract import AssetRequest, AssetResponse
from backends.embedded.assets import AssetFiles
from backends.embedded.file_stream import CHUNK_BYTES
from tests.backends.archives import FILES

LARGE = os.urandom(2 * CHUNK_BYTES + 1000)
APP = FILES["ui/app.js"]
PAGE = FILES["ui/index.html"]


def asset_files(store: BundleStore, **changed: str | int | None) -> AssetFiles:
    options: dict[str, str | int | None] = {
        "content_security_policy": None,
        "frame_ancestors": None,
        "max_asset_bytes": None,
    }
    return AssetFiles(store, **{**options, **changed})  # type: ignore[arg-type] # mixed on purpose


def ask(bundle: Bundle, path: str, method: str = "GET", **fields: str) -> AssetRequest:
    return AssetRequest(
        request_id="r-1",
        method=method,
        extension_id="ext-1",
        content_hash=bundle.content_hash,
        path=path,
        headers=tuple((name.replace("_", "-"), value) for name, value in fields.items()),
        timeout_s=30,
    )


async def fetch(
    store: BundleStore, bundle: Bundle, path: str, method: str = "GET", **fields: str
) -> AssetResponse:
    return await asset_files(store).fetch(ask(bundle, path, method, **fields))


async def body_of(response: AssetResponse) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    try:
        return b"".join([chunk async for chunk in response.body])
    finally:
        await response.body.aclose()
