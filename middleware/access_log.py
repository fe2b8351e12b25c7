"""One line for every request, written when it is over.

It holds what this program decided and counted, never what the client wrote: no path, query,
header value or body. A client that goes away is an everyday event, not an error.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

from backends.errors import BackendError
from middleware.backend_tag import SERVED_BY, ServedBy
from middleware.carried import carried
from middleware.errors import Refusal
from middleware.failure_log import log_failure
from middleware.labels import method_of, route_of
from middleware.request_id import request_id_of
from middleware.source import Source

ANSWERED: Final = "request_answered"
ABANDONED: Final = "request_abandoned"

Entry = tuple[float, str, str, dict[str, object]]
"""When a request was over (seconds since the epoch), level, event, and the line's fields."""

Sink = Callable[[Sequence[Entry]], None]
"""Takes lines, the oldest first. What it is handed it may keep."""

TOGETHER: Final = 64
SOON_S: Final = 0.02
"""Lines are handed on TOGETHER at a time, and none of them waits longer than SOON_S."""

FACTS: web.RequestKey[dict[str, object]] = web.RequestKey("facts")
"""What is known about a request so far, for its line in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """`quiet_routes` are logged at debug level: a prober asks them every few seconds."""

    quiet_routes: frozenset[str] = frozenset({"/healthz", "/readyz", "/metrics"})


def note(request: web.BaseRequest, **facts: object) -> None:
    """Add facts to the request's line, such as tenant, extension, error, phase, upstream_ms.

    A fact that is None is left out of the line.
    """
    state = request._state
    if FACTS in state:
        state[FACTS].update(facts)
    else:
        state[FACTS] = facts


def note_status(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """The stamp that notes the status before the body, so that an answer cut short has one."""
    note(request, status=response.status)


def through_structlog(entries: Sequence[Entry]) -> None:
    """The sink of a process that has no faster one."""
    log: FilteringBoundLogger = structlog.get_logger("access")
    for _, level, event, line in entries:
        getattr(log, level)(event, **line)


def access_log(
    lines: "AccessLines", *, clock: Callable[[], float] = time.perf_counter
) -> Middleware:
    """Write one event per request: `request_answered`, or `request_abandoned` by its client.

    Args:
        clock: monotonic seconds.

    It belongs outside whatever turns exceptions into answers, so that it sees the final
    status. `duration_ms` ends when a streamed answer is complete, and when a buffered one
    is handed to the server for sending. `bytes_out` counts the body alone.
    """

    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = clock()
        sent = _count_body(request)
        event, buffered = ANSWERED, 0
        try:
            response = await handler(request)
            note(request, status=response.status)
            if not response.prepared:
                buffered = _body_length(request, response)
                if is_gone(request):
                    event = ABANDONED
        except web.HTTPException as answer:
            note(request, status=answer.status)
            raise
        except (asyncio.CancelledError, ConnectionError):
            event = ABANDONED
            note(request, reason="client_gone" if is_gone(request) else "cancelled")
            raise
        except Exception as failure:
            note_cut_off(request, failure)
            raise
        finally:
            lines.write(
                event,
                request_id_of(request),
                method_of(request),
                route_of(request),
                carried(request, SERVED_BY),
                carried(request, FACTS) or {},
                clock() - started,
                request.content.total_bytes,
                sent() + buffered,
            )
        return response

    return record


class AccessLines:
    """Puts the lines of requests together and hands them on.

    Args:
        together: how many at once. More than one is cheaper, takes an event loop, and owes a
            `settle` in the end.
    """

    def __init__(
        self, source: Source[AccessLog], sink: Sink = through_structlog, *, together: int = 1
    ) -> None:
        self._source = source
        self._sink = sink
        self._together = together
        self._ended: list[_Ended] = []

    def write(
        self,
        event: str,
        request_id: str,
        method: str,
        route: str,
        served_by: ServedBy | None,
        facts: dict[str, object],
        duration_s: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """The request is over. Whatever was noted about it goes into its line."""
        ended = self._ended
        ended.append(
            (time.time(), event, request_id, method, route, served_by, facts, duration_s,
             bytes_in, bytes_out)
        )  # fmt: skip
        if len(ended) >= self._together:
            self._hand_on()
        elif len(ended) == 1:
            asyncio.get_running_loop().call_later(SOON_S, self._hand_on)

    def settle(self) -> None:
        """Hand on what waits, and from now on each line at once."""
        self._together = 1
        self._hand_on()

    def _hand_on(self) -> None:
        ended, self._ended = self._ended, []
        if ended:
            quiet_routes = self._source().quiet_routes
            self._sink([_entry(quiet_routes, *each) for each in ended])


_Ended = tuple[
    float, str, str, str, str, ServedBy | None, dict[str, object], float, int, int
]  # the arguments of AccessLines.write, and when it was called


def _entry(
    quiet_routes: frozenset[str],
    at: float,
    event: str,
    request_id: str,
    method: str,
    route: str,
    served_by: ServedBy | None,
    facts: dict[str, object],
    duration_s: float,
    bytes_in: int,
    bytes_out: int,
) -> Entry:
    line: dict[str, object] = {"request_id": request_id, "method": method, "route": route}
    if served_by is not None:
        line["backend"] = served_by.kind
        line["generation"] = served_by.generation
    if None in facts.values():
        facts = {name: value for name, value in facts.items() if value is not None}
    line |= facts
    line["duration_ms"] = round(duration_s * 1000, 3)
    line["bytes_in"] = bytes_in
    line["bytes_out"] = bytes_out
    level, status = "info", facts.get("status")
    if route in quiet_routes:
        level = "debug"
    elif event == ANSWERED and (
        "truncated" in facts or (isinstance(status, int) and status >= 500)
    ):
        level = "warning"
    return at, level, event, line


def note_cut_off(request: web.Request, failure: Exception) -> None:
    """Nothing could answer for it any more: the answer had begun and was cut off."""
    note(request, truncated=True, **_why(request, failure))


def _count_body(request: web.Request) -> Callable[[], int]:
    total = 0

    def add(size: int, _written: int) -> None:
        nonlocal total
        total += size

    request.writer.on_body_write = add
    return lambda: total


def _body_length(request: web.Request, response: web.StreamResponse) -> int:
    body = getattr(response, "body", None)
    return len(body) if isinstance(body, bytes) and request.method != "HEAD" else 0


def is_gone(request: web.Request) -> bool:
    """Whether the client has left, so that nobody reads an answer."""
    return request.transport is None or request.transport.is_closing()


def _why(request: web.Request, failure: Exception) -> dict[str, object]:
    match failure:
        case BackendError(reason=reason, phase=phase):
            return {"reason": reason, "phase": phase}
        case Refusal(reason=reason):
            return {"reason": reason}
        case _:
            log_failure(request, failure)
            return {"reason": type(failure).__name__}
