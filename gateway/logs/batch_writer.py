"""Writes log lines without blocking: directly where that is possible, else in batches, by a thread.

A write to standard error may block while nobody reads the other end, and one that blocks stops
every request. So an output that is full, or that cannot be written to without blocking, is left to
a thread. That thread competes with the event loop for the interpreter lock, so lines go to it only
when they have to, and together.
"""

import threading
import time
from contextlib import suppress
from typing import Final

from gateway.logs.output import LineOutput

INTERVAL_S: Final = 0.1
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
BATCH_BYTES: Final = 128 * 1024


class BatchWriter:
    """Writes lines to a file descriptor soon and in order, from any thread.

    Args:
        descriptor: written to, never closed.
        interval_s: the longest that a line waits while the reader keeps up.
        max_waiting_bytes: lines beyond this are dropped: a log that nobody reads must not fill
            the memory.

    Attributes:
        dropped: how many lines were, and how many could not be written.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        interval_s: float = INTERVAL_S,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._output = LineOutput(descriptor)
        self._interval_s = interval_s
        self._max_waiting_bytes = max_waiting_bytes
        self._lock = threading.Lock()
        # One buffer, not a list of lines: a serializer's bytes may hold many times their length.
        self._waiting = bytearray()
        self._leaving_bytes = 0
        self._some = threading.Event()  # there is something to write
        self._now = threading.Event()  # and it shall not wait for company
        self._wrote_at_s = -interval_s  # on the clock of time.monotonic()
        self._closed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._write_on, name="log-writer", daemon=True)
        self._start_thread()

    def write(self, lines: bytes) -> None:
        """Write whole lines, their line breaks included. Never blocks, never raises."""
        with self._lock:
            waiting = self._waiting
            first = not waiting
            if first and not self._leaving_bytes and self._output.can_refuse:
                lines = self._not_taken(lines)
                if not lines:
                    return
            if self._leaving_bytes + len(waiting) + len(lines) > self._max_waiting_bytes:
                self.dropped += lines.count(b"\n")
                return
            waiting += lines
            full = len(waiting) >= BATCH_BYTES
        self._start_thread()
        if first:
            self._some.set()
        if full:
            self._now.set()

    def write_now(self, lines: bytes) -> None:
        """`write` for lines that are rare: they do not wait for company.

        Those that turn out not to be rare do, since each would cost a system call and a
        change of threads: one that follows another within the interval waits for its end.
        """
        self.write(lines)
        if self._waiting and time.monotonic() - self._wrote_at_s >= self._interval_s:
            self._now.set()

    def close(self, *, within_s: float = 5.0) -> None:
        """Write what waits and stop, at most `within_s` seconds. Call it last."""
        self._closed = True
        self._now.set()
        self._some.set()
        if self._thread.ident is None:
            self._flush()
        else:
            self._thread.join(within_s)
        self._output.close()

    def _start_thread(self) -> None:
        if self._thread.ident is None:
            with suppress(RuntimeError):  # at the limit of threads: the next line tries again
                self._thread.start()

    def _not_taken(self, lines: bytes) -> bytes:
        try:
            return lines[self._output.offer(lines) :]
        except OSError:
            self.dropped += lines.count(b"\n")  # nobody reads any more: no place left to say so
            return b""

    def _write_on(self) -> None:
        while not self._closed:
            self._now.wait(self._interval_s)
            self._now.clear()
            if not self._waiting:
                self._some.clear()
                # What came in between has set it again.
                if not (self._waiting or self._closed):
                    self._some.wait()
                continue
            self._wrote_at_s = time.monotonic()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, bytearray()
            # Until it is written it takes up memory all the same.
            self._leaving_bytes = len(waiting)
        written = 0
        try:
            written = self._output.write(waiting)
        finally:
            with self._lock:
                self._leaving_bytes = 0
                self.dropped += waiting.count(b"\n", written)
