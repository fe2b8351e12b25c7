"""The folder of bundles: writable where it must be, its index readable, its bundles unharmed?"""

import asyncio
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from backends.settings import EmbeddedSettings
from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.doctor.folders import is_writable
from gateway.installs.changes import list_installs
from gateway.settings import DirectoryInstallsSettings

_VERIFY_S: Final = 4.0
_CHUNK_BYTES: Final = 1024 * 1024


async def check(case: Case) -> Sequence[Finding]:
    settings = case.settings
    embedded = isinstance(settings.backend, EmbeddedSettings)
    if not embedded and not isinstance(settings.installs, DirectoryInstallsSettings):
        return []  # nothing is looked for in there
    folder = settings.embedded.bundle_dir
    return await asyncio.to_thread(
        # In front of a runner elsewhere the folder is only read: it may be mounted like that.
        lambda: [*(_folder(folder) if embedded else ()), *_installed(folder)]
    )


def _folder(folder: Path) -> Iterator[Finding]:
    if not is_writable(folder):
        why = "nothing can be installed, and a bundle that is not extracted cannot run"
        fix = "set RUNNER_BUNDLE_DIR to a folder that this user can write to"
        yield failed("bundles", f"{folder} cannot be written to", why, fix)


def _installed(folder: Path) -> Iterator[Finding]:
    try:
        installs = list_installs(folder)
    except (OSError, ValueError) as unreadable:
        why = "no extension is known"
        fix = "restore installs.json, or remove it and install the bundles again"
        name = type(unreadable).__name__
        yield failed("bundles", f"the index in {folder} is unreadable ({name})", why, fix)
        return
    if not installs:
        yield warning(
            "bundles",
            f"nothing is installed in {folder}",
            "every call is answered with 404",
            "python -m gateway bundle install DIRECTORY",
        )
        return
    give_up_at = time.monotonic() + _VERIFY_S
    names = {one.content_hash: f"{one.extension_slug} {one.version}" for one in installs}
    verified = 0
    for content_hash, name in names.items():
        digest = content_hash.partition(":")[2]
        fault = _fault(folder / "archives" / f"{digest}.tar.zst", digest, give_up_at)
        if fault is not None:
            why, fix = "it cannot be trusted to run", "install it again"
            yield failed("bundles", f"{name}: {fault}", why, fix)
        elif time.monotonic() < give_up_at:
            verified += 1
    yield ok("bundles", f"{verified} of {len(names)} installed bundles verified in {folder}")


def _fault(archive: Path, digest: str, give_up_at: float) -> str | None:
    """What is wrong with an archive; None when nothing is, or time ran out."""
    sha256 = hashlib.sha256()
    try:
        with archive.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if time.monotonic() > give_up_at:
                    return None
                sha256.update(chunk)
    except FileNotFoundError:
        return "its archive is missing"
    except OSError as unreadable:
        return f"its archive cannot be read ({type(unreadable).__name__})"
    return None if sha256.hexdigest() == digest else "its archive was altered"
