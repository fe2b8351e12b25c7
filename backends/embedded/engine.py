"""The WebAssembly engine: its settings, and the clock that can interrupt its guests."""

import hashlib
import importlib.metadata
import platform
import threading
import time

import structlog
import wasmtime
from wasmtime import component as wit

from backends.embedded import code_settings, short_calls
from backends.embedded.instance_pool import has_room, pool_instances

TICK_S = 0.01
"""How often the epoch advances while a guest runs: the grain of every deadline."""

_LINGER_TICKS = 50
"""How long the clock goes on without a guest: waking it for each of many short ones costs more."""

_MAX_GUESTS = 8
_log = structlog.get_logger()
_EMPTY_COMPONENT = b"\0asm\x0d\0\x01\0"


class EngineFailed(Exception):
    """The engine cannot work on this machine; the message is for the log."""


class WasmEngine:
    """One engine, shared by every component and thread of a backend.

    Args:
        max_guests: how many may exist at once.

    Raises:
        EngineFailed: the native library refused to start.
    """

    def __init__(self, *, max_guests: int = _MAX_GUESTS) -> None:
        config = code_settings.config()
        # Only `probe` compiles here; and where the compiler gets no threads, it ends the process.
        config.parallel_compilation = False
        self._is_pooled = has_room(max_guests)
        if self._is_pooled:
            pool_instances(config, max_guests)
        else:
            _log.warning("guest_memory_not_pooled", reason="address_space", guests=max_guests)
        try:
            self.native = wasmtime.Engine(config)
        except wasmtime.WasmtimeError as error:
            raise EngineFailed(str(error)) from error
        self._ticker = _Ticker(self.native)

    @property
    def version(self) -> str:
        """The engine library's version."""
        return importlib.metadata.version("wasmtime")

    @property
    def fingerprint(self) -> str:
        """What compiled code depends on besides its source: names a cache directory."""
        settings = f"{code_settings.NAMES} pooled={self._is_pooled:d}"
        facts = f"{settings} {platform.machine()} {platform.system()}"
        return f"wasmtime-{self.version}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"

    def probe(self) -> None:
        """Compile and instantiate the smallest component. Raises EngineFailed."""
        try:
            component = wit.Component(self.native, _EMPTY_COMPONENT)
            with wasmtime.Store(self.native) as store, wit.Linker(self.native) as linker:
                store.set_epoch_deadline(1_000)
                linker.instantiate(store, component)
        except wasmtime.WasmtimeError as error:
            raise EngineFailed(str(error)) from error

    def begin(self) -> None:
        """Keep the epoch advancing until `end`: an idle engine costs no wake-ups."""
        self._ticker.begin()

    def end(self) -> None:
        """One guest less runs."""
        self._ticker.end()

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop the epoch: no guest may run after this."""
        self._ticker.stop(timeout_s)


class _Ticker:
    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._change = threading.Condition()
        self._guests = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guest-epoch", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        with self._change:
            self._guests += 1
            self._change.notify()  # nobody, while it ticks

    def end(self) -> None:
        with self._change:
            self._guests -= 1

    def stop(self, timeout_s: float) -> None:
        self._stopped.set()
        with self._change:
            self._change.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with self._change:
                self._change.wait_for(lambda: self._guests or self._stopped.is_set())
            idle_ticks = 0
            while idle_ticks < _LINGER_TICKS and not self._stopped.is_set():
                time.sleep(TICK_S)  # not a wait for the event, which takes the lock three times
                short_calls.increment_epoch(self._engine.ptr())
                idle_ticks = 0 if self._guests else idle_ticks + 1
