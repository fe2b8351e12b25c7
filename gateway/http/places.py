"""Bounds how many do something at once, and refuses the rest."""

from collections.abc import Iterator
from contextlib import contextmanager

from middleware.errors import Overloaded


class Places:
    """At most `limit` at a time; the refusal's `reason` is one word."""

    def __init__(self, limit: int, *, retry_after_s: int, reason: str) -> None:
        self._limit = limit
        self._retry_after_s = retry_after_s
        self._reason = reason
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of them for as long as the block runs. Raises Overloaded when none is left."""
        if self._taken >= self._limit:
            raise Overloaded(self._retry_after_s, self._reason)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
