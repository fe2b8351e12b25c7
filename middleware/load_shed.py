"""Refuse early: past `limit` running requests, answering slowly helps no one."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from middleware.errors import Overloaded
from middleware.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadShed:
    """`limit` requests at once; the rest is told to come back after `retry_after_s`."""

    limit: int
    retry_after_s: int = 1

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, not {self.limit}")


class InFlight:
    """Which requests run now: written by the middleware, read by metrics and console.

    Attributes:
        count: all of them, also those that are answered without a wait.
    """

    def __init__(self) -> None:
        self.count = 0
        self._waiting: dict[int, tuple[float, web.Request]] = {}

    def admit(self, config: LoadShed) -> None:
        """Count one more request; the caller decrements `count` in the end. Raises Overloaded."""
        if self.count >= config.limit:
            raise Overloaded(config.retry_after_s)
        self.count += 1

    def begin(self, request: web.Request) -> None:
        """Note that this request waits for its answer, until `end`."""
        self._waiting[id(request)] = (time.time(), request)

    def end(self, request: web.Request) -> None:
        """It is answered, or given up."""
        self._waiting.pop(id(request), None)

    def longest(self) -> tuple[tuple[float, web.Request], ...]:
        """What is waited for and since when, in seconds since the epoch, the longest first."""
        return tuple(self._waiting.values())  # as they came


def load_shed(
    source: Source[LoadShed],
    *,
    in_flight: InFlight,
    is_exempt: Callable[[web.Request], bool] = lambda _: False,
) -> Middleware:
    """Count requests and refuse the one too many.

    Args:
        in_flight: the counter, shared with whoever wants to read it.
        is_exempt: requests that pass uncounted: a health probe that is shed looks like a
            crash and gets the process killed at the worst moment.

    The middleware raises Overloaded. A lower limit after a reload takes effect for new
    requests; what runs may finish.
    """

    @web.middleware
    async def shed(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_exempt(request):
            return await handler(request)
        in_flight.admit(source())
        in_flight.begin(request)
        try:
            return await handler(request)
        finally:
            in_flight.end(request)
            in_flight.count -= 1

    return shed
