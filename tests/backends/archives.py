"""Builds bundle archives, honest and hostile, entry by entry."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson
import zstandard

MANIFEST = {
    "name": "org.example.hello",
    "publisher": "Example",
    "version": "1.0.0",
    "runtime": "wasm-js@1",
    "capabilities": ["cap:log.emit", "cap:http.fetch"],
    "ui": {
        "type": "iframe",
        "entry": "ui/index.html",
        "hooks": {"appMenu": {"label": "Hello"}},
    },
    "api": {"endpoints": [{"method": "GET", "path": "/items/:id", "handler": "dist/main"}]},
}

FILES: Mapping[str, bytes] = {
    "manifest.json": orjson.dumps(MANIFEST),
    "dist/main.wasm": b"\0asm stands in for a component",
    "ui/index.html": b"<!doctype html><title>Hello</title>",
    "ui/app.js": b"export const greeting = 'hello';\n",
}

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Entry:
    """One entry, whatever it is named and whatever it claims to be."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.type = kind
    info.linkname = link
    return info, content


def entries(files: Mapping[str, bytes] = FILES) -> list[Entry]:
    return [entry(name, content) for name, content in files.items()]


def tar_bytes(content: Iterable[Entry]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in content:
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def write_archive(path: Path, content: Iterable[Entry]) -> Path:
    path.write_bytes(zstandard.compress(tar_bytes(content)))
    return path


def hash_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def bundle_archive(folder: Path, **changed: object) -> Path:
    """An honest bundle whose manifest differs in `changed`, named by its content."""
    manifest = orjson.dumps({**MANIFEST, **changed})
    name = hashlib.sha256(manifest).hexdigest()[:8]
    return write_archive(folder / f"{name}.tar.zst", entries({**FILES, "manifest.json": manifest}))
