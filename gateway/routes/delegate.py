"""Hand a request to the current generation, and let everything else know which one it was."""

import math
import time

from aiohttp import web

from backends.errors import Phase, RunnerTimeout
from backends.slot import Generation
from gateway.fast_path.request import FastRequest
from gateway.generations.live import Live
from gateway.keys import LIVE
from middleware.access_log import note
from middleware.backend_tag import SERVED_BY


class delegated:  # noqa: N801 - read as a verb: with delegated(request) as generation
    """Lease the current generation for one request.

    The answer's tag and the log line name this generation from here on, also when the call
    fails or its client goes away. Keep the block open until the last byte is out: the lease
    is what a draining generation waits for.
    """

    __slots__ = ("_began", "_generation", "request")

    def __init__(self, request: web.Request, live: Live) -> None:
        self.request = request
        self._generation = live.slot.lease()
        request[SERVED_BY] = live.served_by

    def __enter__(self) -> Generation:
        self._began = time.perf_counter()
        return self._generation.__enter__()

    def __exit__(
        self, _kind: object = None, failure: BaseException | None = None, _trace: object = None
    ) -> None:
        self._generation.__exit__()
        took_ms = (time.perf_counter() - self._began) * 1000
        note(self.request, upstream_ms=round(took_ms, 3))
        if isinstance(failure, RunnerTimeout):
            self.explain(failure)

    def explain(self, failure: RunnerTimeout) -> None:
        """Add the duration to a total timeout: the layers below know only its end, no length."""
        if failure.phase is Phase.TOTAL and failure.budget_s is None:
            # Not always the whole budget: a runner's platform may have a smaller one.
            took_s = math.ceil((time.perf_counter() - self._began) * 10) / 10
            failure.budget_s = min(took_s, live_of(self.request).settings.timeout_s)


def live_of(request: web.Request) -> Live:
    """What is committed."""
    return request.live if isinstance(request, FastRequest) else request.app[LIVE]
