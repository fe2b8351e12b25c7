"""Hand a request to the current generation, and let everything else know which one it was."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from backends.slot import Generation
from gateway.keys import LIVE
from middleware.access_log import note
from middleware.backend_tag import SERVED_BY, ServedBy


@contextmanager
def delegated(request: web.Request) -> Iterator[Generation]:
    """Lease the current generation for one request.

    The answer's tag and the log line name this generation from here on, also when the call
    fails or its client goes away. Keep the block open until the last byte is out: the lease
    is what a draining generation waits for.
    """
    with request.app[LIVE].slot.lease() as generation:
        kind = str(generation.identity.kind)
        request[SERVED_BY] = ServedBy(kind, generation.number)
        note(request, backend=kind, generation=generation.number)
        began = time.perf_counter()
        try:
            yield generation
        finally:
            note(request, upstream_ms=round((time.perf_counter() - began) * 1000, 3))
