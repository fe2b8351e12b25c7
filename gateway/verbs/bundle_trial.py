"""Tells whoever installs an extension that its handler cannot run, before somebody calls it."""

import asyncio
import hashlib

from backends.bundles.errors import BundleError
from backends.bundles.store import BundleStore
from backends.embedded.trial import problem_with
from backends.settings import EmbeddedSettings

_SHOWN = 300


class HandlerTrials:
    """Remembers the last component, because most saves change only the page. Blocking."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._bundles = BundleStore(settings.bundle_dir)
        self._tried = b""
        self._warnings: tuple[str, ...] = ()

    def warnings(self, content_hash: str) -> tuple[str, ...]:
        """What every call of this bundle's handler would meet; empty when it can be called."""
        try:
            with self._bundles.open(content_hash).wasm_path.open("rb") as component:
                digest = hashlib.file_digest(component, "sha256").digest()
        except (BundleError, OSError):  # somebody has removed it since
            return ()
        if digest != self._tried:
            problem = asyncio.run(problem_with(self._settings, content_hash))
            self._warnings = () if problem is None else (_warning(problem),)
            self._tried = digest
        return self._warnings


def _warning(problem: str) -> str:
    # It may quote names of the component: nothing for a terminal to act on.
    shown = ascii(problem[:_SHOWN])[1:-1]
    return f"dist/main.wasm: cannot run in the embedded backend, {shown}"
