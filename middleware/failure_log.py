"""Logs exceptions that nobody expected: their classes and tracebacks, never their messages.

A traceback holds this program's own files, lines and names. A message may quote the client or a
secret.
"""

import time
import traceback
from collections.abc import Iterator
from typing import Final

import structlog
from aiohttp import web

from middleware.labels import route_of
from middleware.request_id import request_id_of

FRAMES: Final = 8
"""How many innermost frames are shown of a failure; half as many of each of its causes."""

CAUSES: Final = 2
AGAIN_S: Final = 60.0
"""A traceback to one place is written once in this time: an outage is one failure a thousand
times."""

_log = structlog.get_logger("failures")

_written: dict[tuple[str, str], float] = {}  # by class and place, of which there are only so many


def log_failure(request: web.Request, failure: BaseException) -> None:
    """Write `request_failed`: the class of `failure`, where it was raised, and its traceback."""
    kind, place = _name_of(failure), _place_of(failure)
    facts: dict[str, object] = {}
    if isinstance(failure, OSError) and failure.errno is not None:
        facts["errno"] = failure.errno
    now = time.monotonic()
    if now - _written.get((kind, place), -AGAIN_S) >= AGAIN_S:
        _written[kind, place] = now
        # The name under which tracebacks are shown, and masked like all other text.
        facts["exception"] = "\n".join(_way_to(failure))
    _log.error(
        "request_failed",
        request_id=request_id_of(request),
        route=route_of(request),
        failure=kind,
        raised_at=place,
        **facts,
    )


def _way_to(failure: BaseException) -> Iterator[str]:
    """Its traceback, the innermost frame last, then those of its causes."""
    frames, came_from = FRAMES, [failure, *_causes_of(failure)]
    for one in came_from:
        if one is not failure:
            yield "which came from:"
        yield "".join(traceback.format_tb(one.__traceback__, limit=-frames)) + _name_of(one)
        frames = FRAMES // 2


def _causes_of(failure: BaseException) -> Iterator[BaseException]:
    for _ in range(CAUSES):
        context = None if failure.__suppress_context__ else failure.__context__
        cause = failure.__cause__ or context
        if cause is None:
            return
        yield cause
        failure = cause


def _name_of(failure: BaseException) -> str:
    kind = type(failure)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"


def _place_of(failure: BaseException) -> str:
    trace = failure.__traceback__
    if trace is None:
        return "nowhere"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
