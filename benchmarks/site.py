"""What there is to ask for: the sample extension's install, three files, one envelope.

Every server is asked for the same things, and the runner behind all of them is one nginx.
"""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import pybase64

from backends.bundles import pack
from gateway.installs.contract import Install
from gateway.installs.directory import install_bundle

TENANT: Final = "bench"
EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "hello"

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
    files: Mapping[str, File]
    envelope: bytes  # of a call, 1 KiB
    answer: bytes  # the runner's envelope for every call
    guest_body: bytes  # what is in it

    @property
    def handler_target(self) -> str:
        return f"/api/ext/{self.install.extension_slug}/hello"


def build_site(bundle_dir: Path) -> Site:
    """Install the sample extension into `bundle_dir` and make up the rest. Blocking."""
    archive = bundle_dir / "hello.tar.zst"
    pack(EXAMPLE, archive)
    install = install_bundle(bundle_dir, archive, tenant=TENANT)
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
    return Site(install, files, _envelope(install), answer, guest_body)


def _file(install: Install, name: str, size: int) -> File:
    content = random.Random(name).randbytes(size)
    etag = f'"sha256-{hashlib.sha256(content).hexdigest()}"'
    target = f"/ext-ui/{install.registry_id}/{install.content_hash}/{name}"
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
