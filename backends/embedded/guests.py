"""Guests ready to run, by content hash: opened, compiled and linked once."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from wasmtime import component as wit

from backends.bundles.errors import BundleError
from backends.bundles.extracted import Bundle
from backends.bundles.store import BundleStore
from backends.embedded.compile_turn import compile_turn
from backends.embedded.compiled_cache import CompiledCache
from backends.embedded.compiling import DEADLINE_S, compiled
from backends.embedded.engine import WasmEngine
from backends.embedded.failures import GuestFailed
from backends.embedded.linking import HostTable
from backends.embedded.prepared import PreparedGuest, prepare
from backends.errors import Phase, RunnerOverloaded, RunnerUnreachable
from backends.standing_threads import StandingThreads

_T = TypeVar("_T")

_MAX_GUESTS = 32
_MAX_WAITING = 64
_THREADS = 2
_COMPILED_AT_ONCE = 2
TRANSIENT: Final = {"bundle_fetch_failed": 0.0, "engine_init_failed": 10.0}
"""What says nothing about the component, and after how many seconds it is tried again: a system
without memory for a compiler has none for one after the other either."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A bundle's component, and the capabilities its manifest declares."""

    prepared: PreparedGuest
    declared: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Coming:
    """A guest that is being loaded, and how many wait for it."""

    task: asyncio.Task[Guest]
    waiting: int = 0


class Guests:
    """The least recently used are forgotten. Belongs to one event loop.

    A component that the world or the compiler refuses stays refused, because its bytes
    cannot change under its hash; what says nothing about it is tried again (TRANSIENT).
    """

    def __init__(
        self,
        engine: WasmEngine,
        bundles: BundleStore,
        compiled: CompiledCache,
        table: HostTable,
        *,
        compile_memory_mb: int,
        max_guests: int = _MAX_GUESTS,
        max_waiting: int = _MAX_WAITING,
    ) -> None:
        self._engine = engine
        self._bundles = bundles
        self._compiled = compiled
        self._table = table
        self._compile_memory_mb = compile_memory_mb
        self._max_guests = max_guests
        self._known: OrderedDict[str, Guest | GuestFailed] = OrderedDict()
        self._max_waiting = max_waiting
        self._coming: dict[str, _Coming] = {}
        self._closed = False
        self._compilers = asyncio.Semaphore(_COMPILED_AT_ONCE)
        self._threads = StandingThreads(_THREADS, "guest-opening")

    def __len__(self) -> int:
        return len(self._known)

    def known(self, content_hash: str) -> Guest | None:
        """The guest, if `get` would not have to wait for it. Raises GuestFailed as `get`."""
        key = content_hash.lower()
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
        if isinstance(known, GuestFailed):
            raise GuestFailed(known.error, known.detail, status=known.status)
        return known

    async def get(self, content_hash: str) -> Guest:
        """The guest; whoever asks while it is being compiled waits for the same work.

        Raises:
            GuestFailed: bundle_fetch_failed, execute_no_handler, execute_link_failed, or
                execute_failed when the component does not compile, or
                engine_init_failed, a fault of this program or machine.
            RunnerOverloaded: too many wait for the same guest already.
            RunnerUnreachable: this was closed.
        """
        if (known := self.known(content_hash)) is not None:
            return known
        key = content_hash.lower()
        if self._closed:
            raise RunnerUnreachable("closed", phase=Phase.ADMIT)
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = _Coming(asyncio.create_task(self._load(key)))
            coming.task.add_done_callback(lambda task: self._loaded(key, task))
        if coming.waiting >= self._max_waiting:
            raise RunnerOverloaded("queue_full", retry_after_s=1)
        coming.waiting += 1
        try:
            return await asyncio.shield(coming.task)
        except asyncio.CancelledError:
            if coming.task.cancelled():
                raise RunnerUnreachable("closed", phase=Phase.ADMIT) from None
            raise
        finally:
            coming.waiting -= 1

    async def aclose(self) -> None:
        """Forget everything, and end what is being compiled."""
        self._closed = True
        tasks = [coming.task for coming in self._coming.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._known.clear()

    def _loaded(self, key: str, task: asyncio.Task[Guest]) -> None:
        del self._coming[key]
        if not task.cancelled():
            task.exception()  # seen, even when every caller has gone

    async def _load(self, key: str) -> Guest:
        found = await self._find(key)
        if isinstance(found, GuestFailed) and found.error in TRANSIENT:
            rest_s = TRANSIENT[found.error]
            if not rest_s:
                raise found
            asyncio.get_running_loop().call_later(rest_s, self._forget, key, found)
        self._known[key] = found
        while len(self._known) > self._max_guests:
            self._known.popitem(last=False)
        if isinstance(found, GuestFailed):
            raise found
        return found

    def _forget(self, key: str, failure: GuestFailed) -> None:
        if self._known.get(key) is failure:
            del self._known[key]

    async def _find(self, content_hash: str) -> Guest | GuestFailed:
        try:
            bundle, sha256 = await self._in_thread(self._open, content_hash)
            component = await self._in_thread(self._compiled.load, sha256)
            if component is None:
                component = await self._compile(bundle.wasm_path, sha256)
            prepared = await self._in_thread(prepare, self._engine, component, self._table)
        except BundleError as error:
            return GuestFailed("bundle_fetch_failed", error.reason, status=502)
        except OSError as error:
            return GuestFailed("bundle_fetch_failed", type(error).__name__, status=502)
        except GuestFailed as error:
            return error
        except Exception as error:  # noqa: BLE001 - the port promises no other exceptions
            return GuestFailed("engine_init_failed", type(error).__name__)
        return Guest(prepared, bundle.manifest.capabilities)

    async def _compile(self, source: Path, sha256: str) -> wit.Component:
        lock = await self._in_thread(self._compiled.lock, sha256)
        async with compile_turn(lock, deadline_s=DEADLINE_S):
            # Somebody else may have compiled it: another process, or another bundle's call.
            if (component := await self._in_thread(self._compiled.load, sha256)) is not None:
                return component
            async with self._compilers:
                code = await compiled(source, max_memory_mb=self._compile_memory_mb)
            return await self._in_thread(self._keep, sha256, code)

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *args))

    def _open(self, content_hash: str) -> tuple[Bundle, str]:
        bundle = self._bundles.open(content_hash)
        with bundle.wasm_path.open("rb") as component:
            return bundle, hashlib.file_digest(component, "sha256").hexdigest()

    def _keep(self, sha256: str, code: bytes) -> wit.Component:
        """The component of this code: from the file, whose memory all processes share."""
        self._compiled.save(sha256, code)
        kept = self._compiled.load(sha256)
        return kept or wit.Component.deserialize(self._engine.native, code)
