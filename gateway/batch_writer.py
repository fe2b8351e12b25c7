"""Log lines on their way out: gathered, and written by a thread of their own.

A write to standard error is a system call, and blocks while nobody reads the other end. One
per request costs more than the rest of a small request; one that blocks stops every request.
"""

import os
import threading
from collections import deque
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
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._some = threading.Event()  # there is something to write
        self._now = threading.Event()  # and it shall not wait for company
        self._closed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._write_on, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue one whole line, its line break included. Never blocks, never raises."""
        with self._lock:
            if self._waiting_bytes + len(line) > self._max_waiting_bytes:
                self.dropped += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            first, full = len(self._lines) == 1, self._waiting_bytes >= BATCH_BYTES
        if first:
            self._some.set()
        if full:
            self._now.set()

    def write_now(self, line: bytes) -> None:
        """`write` for lines that are rare: they do not wait for company."""
        self.write(line)
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
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            batch = memoryview(b"".join(self._lines))
            self._lines.clear()
        try:
            written = 0
            while written < len(batch):
                written += os.write(self._descriptor, batch[written:])
        except OSError:
            # Nobody reads any more, or the disk is full: there is no place left to say so.
            pass
        finally:
            # Only now: what is being written still takes up memory.
            with self._lock:
                self._waiting_bytes -= len(batch)
