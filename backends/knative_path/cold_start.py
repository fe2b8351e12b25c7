"""Calls that meet a service scaled to zero, or one that is being replaced: wait, within a budget.

A proxy that has nobody to pass a call to refuses it, or the connection itself is refused. Where
that provably happened before a byte reached a runner, the call is sent again until the budget
for cold starts is spent; everything else is told to the caller at once.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import structlog

from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.knative_path.cold_figures import ColdFigures
from backends.knative_path.cold_line import ColdLine
from backends.knative_path.cut_off import WatchedBody
from backends.knative_path.service import ServiceState
from backends.knative_path.statuses import JUDGED, TEXT_BYTES, Speaker, Verdict, verdict
from backends.prompt import Callback, Cancel, Outcome
from backends.upstream.bodies import WholeBody, content_length, read_whole
from backends.upstream.transport import (
    PromptTransport,
    Transport,
    TransportStats,
    UpstreamRequest,
    UpstreamResponse,
)

BACK_OFF_S: Final = (0.05, 1.0)
COOLS_AFTER_S: Final = 60.0
"""Without an answer for so long the service may sleep; Knative's own window is as long."""

_FRESH_S: Final = 5.0  # an answer this recent counts more than the API, which lags behind
_MARGIN: Final = 0.1  # our deadlines are so much shorter than those of the proxies
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})

_OPEN: Final = nullcontext()

_log = structlog.get_logger("backends.knative")


@dataclass(slots=True)
class CallContext:
    """What one call and its transport share, by way of `current_call`.

    Attributes:
        queued_s: waited before the attempt that was answered; when that one woke the service,
            until its answer began.
    """

    extension: str
    queued_s: float = 0.0


current_call: ContextVar[CallContext | None] = ContextVar("knative_call", default=None)


class _Attempt(NamedTuple):
    """What came of sending a call once."""

    cold: bool  # the service may have been asleep
    sent_at: float
    outcome: UpstreamResponse | Verdict


class ColdStart:
    """A transport that waits for a runner to come up, and reads what proxies say meanwhile.

    Args:
        transport: owned.
        budget_s: how long one call may wait for a start; 0: never, everything is told at once.
        state: what the Serving API says; None: it is not read.

    Attributes:
        retries: attempts after the first ones.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        budget_s: float,
        state: Callable[[], ServiceState | None],
        figures: ColdFigures,
    ) -> None:
        self._transport = transport
        self._prompt = transport if isinstance(transport, PromptTransport) else None
        self._budget_s = budget_s
        self._state = state
        self._figures = figures
        self._answered_at = -math.inf
        self._line = ColdLine(lambda: self.cold)
        self.retries = 0

    @property
    def cold(self) -> bool:
        """The next call may have to wait for a pod."""
        silent_s = time.monotonic() - self._answered_at
        state = self._state()
        if silent_s > _FRESH_S and state is not None and state.asleep is not None:
            return state.asleep
        return silent_s > COOLS_AFTER_S

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        return await self._attempts(request, None, time.monotonic())

    def begin(self, request: UpstreamRequest, done: Callback[UpstreamResponse], /) -> Cancel | None:
        """Begin it, unless it might have to wait for a start."""
        if self._prompt is None or (self._budget_s > 0 and self.cold):
            return None
        began, line = time.monotonic(), self._line

        def on_outcome(outcome: Outcome[UpstreamResponse]) -> None:
            if isinstance(outcome, Coroutine):
                done(outcome)  # what a pool has still to do is no answer of a proxy's
            elif isinstance(outcome, BackendError) or outcome.status in JUDGED or line.waiting:
                done(self._attempts(request, outcome, began))
            else:
                self._answered_at = time.monotonic()
                done(_watched(outcome))

        return self._prompt.begin(self._within_theirs(request, None), on_outcome)

    async def _attempts(
        self, request: UpstreamRequest, first: UpstreamResponse | BackendError | None, began: float
    ) -> UpstreamResponse:
        """One attempt after another, until one is answered or none is worth it.

        Args:
            first: what came of the first one, when that has been made.
        """
        call = current_call.get() or CallContext("")
        ends = min(
            began + self._budget_s,
            request.budget.head_by or math.inf,
            request.budget.body_by or math.inf,
        )
        if first is None:
            attempt = await self._attempt(request, ends)
        else:
            attempt = _Attempt(cold=False, sent_at=began, outcome=await self._judge(first))
        repeated = 0
        while isinstance(attempt.outcome, Verdict):
            pause = _pause(repeated)
            too_late = time.monotonic() + pause >= ends
            if too_late or not _worth_waiting(attempt.outcome, request.method, cold=attempt.cold):
                raise self._with_retry_after(attempt.outcome.failure, call, cold=attempt.cold)
            if not repeated:  # what comes of it is in the line of its request
                _log.info(
                    "call_waits_for_runner",
                    request_id=request.request_id,
                    extension=call.extension,
                    said_by=attempt.outcome.speaker,
                    error=attempt.outcome.failure.reason,
                )
            self.retries += 1
            await asyncio.sleep(pause)
            attempt = await self._attempt(request, ends)
            repeated += 1
        self._note_wait(call, attempt, began)
        return _watched(attempt.outcome)

    async def _attempt(self, request: UpstreamRequest, ends: float) -> _Attempt:
        """Send it: after a place in line, while the service may have to be woken."""
        cold = self._budget_s > 0 and self.cold
        async with self._line.place(ends) if cold else _OPEN:
            sent_at = time.monotonic()
            outcome = await self._send(self._within_theirs(request, ends if cold else None))
        return _Attempt(cold=cold, sent_at=sent_at, outcome=outcome)

    def _note_wait(self, call: CallContext, answered: _Attempt, began: float) -> None:
        """Count the time before the attempt that was answered, or that woke the service."""
        if not answered.cold:
            call.queued_s += answered.sent_at - began
            return
        waited_s = time.monotonic() - began
        call.queued_s += waited_s
        self._figures.record(call.extension, waited_s)

    def stats(self) -> TransportStats:
        return self._transport.stats()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _send(self, request: UpstreamRequest) -> UpstreamResponse | Verdict:
        try:
            response = await self._transport.exchange(request)
        except BackendError as failure:
            return await self._judge(failure)
        return await self._judge(response)

    async def _judge(self, outcome: UpstreamResponse | BackendError) -> UpstreamResponse | Verdict:
        """Whether it is an answer, which lets the others go, or what a proxy says instead."""
        judged = await _judged(outcome)
        if isinstance(judged, UpstreamResponse):
            self._answered_at = time.monotonic()
            await self._line.look_again()
        return judged

    def _within_theirs(self, request: UpstreamRequest, cold_until: float | None) -> UpstreamRequest:
        """The request with limits that run out before those of Knative's proxies do.

        A proxy whose timer fires ends the answer as if it were complete; ours breaks it off.
        """
        budget, state, now = request.budget, self._state(), time.monotonic()
        if cold_until is not None:
            budget = replace(budget, first_byte_s=max(0.001, cold_until - now))
        if state is not None:
            budget = replace(
                budget,
                first_byte_s=_least(budget.first_byte_s, _before(state.response_start_s)),
                idle_s=_least(budget.idle_s, _before(state.idle_s)),
                body_by=_least(
                    budget.body_by,
                    None if state.timeout_s is None else now + state.timeout_s * (1 - _MARGIN),
                ),
            )
        return request if budget is request.budget else replace(request, budget=budget)

    def _with_retry_after(
        self, failure: BackendError, call: CallContext, *, cold: bool
    ) -> BackendError:
        """The failure with a Retry-After that comes from what starts took so far."""
        if cold and isinstance(failure, RunnerOverloaded | RunnerUnreachable):
            expected = self._figures.retry_after_s(call.extension)
            failure.retry_after_s = max(failure.retry_after_s, expected)
        return failure


async def _judged(outcome: UpstreamResponse | BackendError) -> UpstreamResponse | Verdict:
    if isinstance(outcome, BackendError):
        return Verdict(Speaker.UNKNOWN, outcome, unprocessed=_never_sent(outcome))
    if outcome.status not in JUDGED:
        return outcome
    try:
        text = await _beginning(outcome)
    except BackendError as failure:
        return Verdict(Speaker.UNKNOWN, failure, unprocessed=_never_sent(failure))
    judged = verdict(outcome.status, outcome.headers, text)
    return replace(outcome, body=WholeBody(text)) if judged is None else judged


def _never_sent(failure: BackendError) -> bool:
    match failure:
        case RunnerUnreachable() | RunnerTimeout():
            return failure.phase is Phase.CONNECT
        case _:
            return False


def _worth_waiting(outcome: Verdict, method: str, *, cold: bool) -> bool:
    failure = outcome.failure
    if failure.phase is Phase.ADMIT or failure.phase is Phase.TOTAL:
        return False  # this program's own bounds
    if isinstance(failure, RunnerOverloaded) and not cold:
        return False  # a full queue in front of a running pod grows by waiting at it
    if outcome.unprocessed:
        return True
    lost = failure.reason in ("proxy_lost_runner", "ingress_lost_runner")
    return lost and method in _SAFE_METHODS


async def _beginning(response: UpstreamResponse) -> bytes:
    length = content_length(response.headers)
    if length is not None and length > TEXT_BYTES:
        await response.body.aclose()
        return b""
    try:
        return await read_whole(response.body, max_bytes=TEXT_BYTES)
    except BackendError:
        return b""  # too long, or broken off: no text of a proxy's


def _watched(response: UpstreamResponse) -> UpstreamResponse:
    if response.status not in (200, 206) or content_length(response.headers) is not None:
        return response
    return replace(response, body=WatchedBody(response.body))


def _before(theirs_s: float | None) -> float | None:
    return None if theirs_s is None else theirs_s * (1 - _MARGIN)


def _least(ours: float | None, theirs: float | None) -> float | None:
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return min(ours, theirs)


def _pause(attempt: int) -> float:
    """Full jitter: calls that were refused together do not come back together."""
    first, most = BACK_OFF_S
    return random.uniform(0, min(first * 2 ** min(attempt, 10), most))  # noqa: S311 - no secret


_guard: type[PromptTransport] = ColdStart
