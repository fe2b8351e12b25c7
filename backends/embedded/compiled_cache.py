"""Compiled components on disk: native code, so only files this program wrote are loaded.

One directory per engine version and settings, readable and writable by its owner alone;
files appear whole, by rename. Anyone who could write there could run code as this
process, so a directory or file with another owner or wider permissions is not used.
"""

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
import wasmtime
from wasmtime import component as wit

from backends.embedded.engine import WasmEngine
from backends.files.whole import replacing

_SUFFIX = ".cwasm"
_HEX = re.compile(r"[0-9a-f]{64}")
_log = structlog.get_logger()


class CompiledCache:
    """Compiled code by the SHA-256 of its component, whichever bundles that is in.

    Every method blocks: call it in a thread.

    A cache that cannot be used costs a compilation, so nothing here raises for that.

    Args:
        root: the folder that holds one directory per engine version.
        max_files: the oldest beyond these are removed.
        may_create: whether to make the directory; it belongs to whoever does.
    """

    def __init__(
        self, root: Path, engine: WasmEngine, *, max_files: int = 64, may_create: bool = True
    ) -> None:
        self._directory = root / engine.fingerprint
        self._engine = engine
        self._max_files = max_files
        self._may_create = may_create

    def load(self, component_sha256: str) -> wit.Component | None:
        """The compiled component, or None when there is none that may be trusted."""
        path = self._path(component_sha256)
        try:
            if path is None or not self._is_ours(path.lstat(), stat.S_ISREG):
                return None
            component = wit.Component.deserialize_file(self._engine.native, str(path))
            os.utime(path)
        except (OSError, wasmtime.WasmtimeError):
            return None
        return component

    def save(self, component_sha256: str, code: bytes) -> None:
        """Keep a compiled component for later, and for other processes."""
        path = self._path(component_sha256, create=self._may_create)
        if path is None:
            return
        try:
            with replacing(path, durable=True) as file:
                file.write(code)
            self._prune()
        except OSError as error:
            _log.warning("compiled_cache_not_written", error=type(error).__name__)

    def lock(self, component_sha256: str) -> Path | None:
        """The lock of whoever compiles it; None where the code could not be kept for others."""
        path = self._path(component_sha256, create=self._may_create)
        return None if path is None else path.with_suffix(".lock")

    def _path(self, component_sha256: str, *, create: bool = False) -> Path | None:
        if not _HEX.fullmatch(component_sha256):
            return None
        try:
            if create:
                self._directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._directory.mkdir(mode=0o700, exist_ok=True)
            if not self._is_ours(self._directory.lstat(), stat.S_ISDIR):
                _log.warning("compiled_cache_refused", reason="owner_or_permissions")
                return None
        except OSError:
            return None
        return self._directory / f"{component_sha256}{_SUFFIX}"

    @staticmethod
    def _is_ours(facts: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
        return (
            is_kind(facts.st_mode)
            and facts.st_uid == os.geteuid()
            and stat.S_IMODE(facts.st_mode) & 0o077 == 0
        )

    def _prune(self) -> None:
        files: list[tuple[float, Path]] = []
        for path in self._directory.glob(f"*{_SUFFIX}*"):  # and what a killed process has begun
            with suppress(FileNotFoundError):  # another process prunes, too
                files.append((path.lstat().st_mtime, path))
        for _, path in sorted(files, reverse=True)[self._max_files :]:
            path.unlink(missing_ok=True)
