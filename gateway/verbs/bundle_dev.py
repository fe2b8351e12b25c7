"""Installs an extension's folder again whenever what its bundle is made of has changed.

The watcher only says when to look; what counts is whether the files differ from those that
were packed last. So changes behind a link, in a folder that a build deletes and makes again, and
on a mount that reports none are noticed as well, a second later.
"""

import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchfiles import watch

from backends.bundles.errors import BundleError
from backends.bundles.manifest import ManifestError
from backends.bundles.pack import QUICK, pack
from backends.bundles.store import BundleStore
from gateway.installs.changes import install_bundle, list_installs
from gateway.installs.contract import Install
from gateway.installs.index import index_lock

QUIET_MS: Final = 100  # a save is over when nothing was written for so long
LONGEST_SAVE_MS: Final = 1_000  # something that never pauses is packed all the same
LOOK_MS: Final = 1_000  # how often to look where no watcher says anything
KEPT: Final = 5  # pages that are open still ask for the files of the bundle before

_Stamp = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class NotInstalled:
    """This state of the folder makes no bundle; what was installed before stays."""

    problem: str


def installs_of(
    directory: Path, root: Path, *, tenant: str, stop: threading.Event
) -> Iterator[Install | NotInstalled]:
    """Install the folder now and after every change, until `stop` is set. Blocking.

    Yields what became of each state of the folder; a state with the same content as the one
    installed last is passed over. Bundles that this made are removed once `KEPT` newer ones
    exist and no install names them.

    Args:
        root: the folder of bundles.
        tenant: whose install it is; "*" is everybody's.
    """
    store = BundleStore(root)
    before = frozenset(store.hashes())
    made: deque[str] = deque()
    for _ in changes(directory, stop):
        try:
            install = _install(directory, root, tenant)
        except (BundleError, ManifestError, OSError, ValueError) as wrong:
            yield NotInstalled(str(wrong))
            continue
        if made and made[-1] == install.content_hash:
            continue
        with suppress(ValueError):  # an older state has come back
            made.remove(install.content_hash)
        made.append(install.content_hash)
        yield install
        while len(made) > KEPT:
            old = made.popleft()
            if old not in before:
                _forget(old, store, root)


def changes(directory: Path, stop: threading.Event) -> Iterator[None]:
    """Yield at once, and again whenever a file that the bundle is made of has changed."""
    packed: frozenset[_Stamp] | None = None
    while not stop.is_set():
        now = _stamps(directory)
        if now != packed:
            packed = now
            yield
        else:
            _wait(directory, stop)


def _inputs(directory: Path) -> tuple[Path, ...]:
    # Not the folder itself: node_modules would be watched with it.
    return directory / "manifest.json", directory / "dist", directory / "ui"


def _stamps(directory: Path) -> frozenset[_Stamp]:
    """What tells one state of the files from another, seen through links."""
    return frozenset(_walk(directory))


def _walk(directory: Path) -> Iterator[_Stamp]:
    manifest, *folders = _inputs(directory)
    paths = [manifest]
    for top in folders:
        for folder, _, names in os.walk(top):
            paths += (Path(folder, name) for name in names if not name.startswith("."))
    for path in paths:
        with suppress(OSError):  # gone between the two looks: a change by itself
            status = path.stat()
            yield str(path), status.st_ino, status.st_mtime_ns, status.st_size


def _wait(directory: Path, stop: threading.Event) -> None:
    """Return when something was written, after LOOK_MS at the latest, or when told to stop."""
    there = [path for path in _inputs(directory) if path.exists()]
    try:
        next(
            watch(
                *there,
                watch_filter=None,
                step=QUIET_MS,
                debounce=LONGEST_SAVE_MS,
                rust_timeout=LOOK_MS,
                yield_on_timeout=True,
                stop_event=stop,
            ),
            None,
        )
    except FileNotFoundError:  # deleted since the look: a build that starts from nothing
        stop.wait(QUIET_MS / 1000)
    except RuntimeError:  # the watcher's own: a name that is no text, or no watches are left
        stop.wait(LOOK_MS / 1000)


def _install(directory: Path, root: Path, tenant: str) -> Install:
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "bundle.tar.zst"
        pack(directory, archive, level=QUICK)
        return install_bundle(root, archive, tenant=tenant)


def _forget(content_hash: str, store: BundleStore, root: Path) -> None:
    # One that cannot be removed is left: tidying up must not end the watch.
    with suppress(BundleError, OSError, ValueError), index_lock(root):
        if all(one.content_hash != content_hash for one in list_installs(root)):
            store.remove(content_hash)
