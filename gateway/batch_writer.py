"""Log lines on their way out: gathered, and written by a thread of their own.

A write to standard error is a system call, and blocks while nobody reads the other end. One
per request costs more than the rest of a small request; one that blocks stops every request.
"""

import os
import threading
import time
from typing import Final

INTERVAL_S: Final = 0.1
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
BATCH_BYTES: Final = 64 * 1024


class BatchWriter:
    """Writes lines to a file descriptor soon and in order, from any thread.

    Args:
        descriptor: written to, never closed.
        interval_s: the longest that a line waits while the reader keeps up.
        max_waiting_bytes: lines beyond this are dropped and counted: a log that nobody reads
            must not fill the memory.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        interval_s: float = INTERVAL_S,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._descriptor = descriptor
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
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue one whole line, its line break included. Never blocks, never raises."""
        with self._lock:
            waiting = self._waiting
            first = not waiting
            if self._leaving_bytes + len(waiting) + len(line) > self._max_waiting_bytes:
                self.dropped += 1
                return
            waiting += line
            full = len(waiting) >= BATCH_BYTES
        if first:
            self._some.set()
        if full:
            self._now.set()

    def write_now(self, line: bytes) -> None:
        """`write` for lines that are rare: they do not wait for company.

        Those that turn out not to be rare do, since each would cost a system call and a
        change of threads: one that follows another within the interval waits for its end.
        """
        self.write(line)
        if time.monotonic() - self._wrote_at_s >= self._interval_s:
            self._now.set()

    def close(self, *, within_s: float = 5.0) -> None:
        """Write what waits and stop, at most `within_s` seconds. Call it last."""
        self._closed = True
        self._now.set()
        self._some.set()
        self._thread.join(within_s)

    def _write_on(self) -> None:
        while not self._closed:
            self._some.wait()
            self._now.wait(self._interval_s)
            self._some.clear()
            self._now.clear()
            self._wrote_at_s = time.monotonic()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, bytearray()
            # Until it is written it takes up memory all the same.
            self._leaving_bytes = len(waiting)
        batch, written = memoryview(waiting), 0
        try:
            while written < len(batch):
                written += os.write(self._descriptor, batch[written:])
        except OSError:
            # Nobody reads any more, or the disk is full: there is no place left to say so.
            pass
        finally:
            with self._lock:
                self._leaving_bytes = 0
