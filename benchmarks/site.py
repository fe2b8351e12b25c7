"""What there is to ask for: the sample extension's install, three files, one envelope.

Every server is asked for the same things, and the runner behind all of them is one nginx.
"""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

import orjson
import pybase64
from wasmtime import wat2wasm

from backends.bundles.pack import pack
from gateway.installs.changes import install_bundle
from gateway.installs.contract import Install

TENANT: Final = "bench"
EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "hello"
SMALL_HANDLER: Final = Path(__file__).with_name("small_handler.wat")

KIB: Final = 1024
SIZES: Final[Mapping[str, int]] = {
    "small.js": 2 * KIB,
    "medium.js": 200 * KIB,
    "large.wasm": 10 * KIB * KIB,
}


@dataclass(frozen=True)
class File:
    """One UI file: its request target, its bytes, its entity tag (quoted)."""

    name: str
    target: str
    content: bytes
    etag: str


@dataclass(frozen=True)
class Site:
    """Everything that is asked for, and the answers that are expected."""

    install: Install
    small: Install  # of an extension whose handler does next to nothing
    files: Mapping[str, File]
    envelope: bytes  # of a call, 1 KiB
    answer: bytes  # the runner's envelope for every call
    guest_body: bytes  # what is in it

    @property
    def handler_target(self) -> str:
        return f"/api/ext/{self.install.extension_slug}/hello"

    @property
    def small_handler_target(self) -> str:
        """Answers a POST with its own body."""
        return f"/api/ext/{self.small.extension_slug}/echo"


def build_site(bundle_dir: Path) -> Site:
    """Install the extensions into `bundle_dir` and make up the rest. Blocking."""
    install = _installed(EXAMPLE, bundle_dir)
    with TemporaryDirectory() as folder:
        small = _installed(_small_extension(Path(folder)), bundle_dir)
    files = {name: _file(install, name, size) for name, size in SIZES.items()}
    guest_body = _filled({"greeting": "Hello, stranger!"}, size=708)
    answer = orjson.dumps(
        {
            "status": 200,
            "headers": {"content-type": "application/json"},
            "body_b64": pybase64.b64encode(guest_body).decode(),
            "error": None,
        }
    )
    return Site(install, small, files, _envelope(install), answer, guest_body)


def _installed(extension: Path, bundle_dir: Path) -> Install:
    archive = bundle_dir / "bundle.tar.zst"
    pack(extension, archive)
    return install_bundle(bundle_dir, archive, tenant=TENANT)


def _small_extension(folder: Path) -> Path:
    """An extension of one handler, written in WebAssembly's text form."""
    manifest = {
        "name": "bench.small",
        "publisher": "Bench",
        "version": "1.0.0",
        "runtime": "wasm-js@1",
        "api": {"endpoints": [{"method": "POST", "path": "/echo", "handler": "dist/main"}]},
    }
    (folder / "dist").mkdir()
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    (folder / "dist" / "main.wasm").write_bytes(bytes(wat2wasm(SMALL_HANDLER.read_text())))
    return folder


def _file(install: Install, name: str, size: int) -> File:
    content = random.Random(name).randbytes(size)
    etag = f'"sha256-{hashlib.sha256(content).hexdigest()}"'
    # As browsers ask for it: build_ui_url escapes the colon.
    target = f"/ext-ui/{install.registry_id}/{quote(install.content_hash, safe='')}/{name}"
    return File(name, target, content, etag)


def _envelope(install: Install) -> bytes:
    call = {
        "context": {
            "request_id": "bench-1",
            "tenant_id": install.tenant_id,
            "extension_id": install.registry_id,
            "install_id": install.install_id,
            "version_id": install.version_id,
            "content_hash": install.content_hash,
            "config": {},
        },
        "http": {
            "method": "GET",
            "path": "/hello",
            "query": {},
            "headers": {"accept": "application/json", "x-request-id": "bench-1"},
            "body_b64": None,
        },
        "limits": {"timeout_ms": 29_000},
        "providers": list(install.providers),
    }
    return _filled(call, size=KIB)


def _filled(members: dict[str, object], *, size: int) -> bytes:
    """JSON of exactly `size` bytes, by one more member."""
    missing = size - len(orjson.dumps({**members, "padding": ""}))
    return orjson.dumps({**members, "padding": "x" * missing})
