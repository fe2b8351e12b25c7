"""One request of a busy route, answered in one coroutine, or in none when nothing is awaited.

It goes through the same guards, handlers, stamps and records as in the middlewares of every other
request, in the same order; a test holds the two to the same answers.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import web

from backends.contract import ByteStream, Pairs
from backends.prompt import Cancel
from backends.upstream.http1_body import Http1Body
from gateway.fast_path.parts import FastProtocol, Parts, Target
from gateway.fast_path.reader import Parsed
from gateway.fast_path.repeats import Repeat
from gateway.fast_path.request import FastRequest
from gateway.generations.live import Live
from gateway.http.answer import BODILESS, Answer
from middleware import metrics
from middleware.access_log import ABANDONED, ANSWERED, is_gone, note, note_cut_off
from middleware.backend_tag import SERVED_BY
from middleware.body_limit import check_length
from middleware.metrics import outcome_of
from middleware.problem_details import answer_to
from middleware.request_target import check_host, check_target

JOINED_BYTES: Final = 32 * 1024
"""A body of no more than this is joined to its head: cheaper than two buffers to one write."""


class Exchange:
    """One request, from its guards to its line in the log."""

    __slots__ = (
        "_admitted",
        "_answer",
        "_began",
        "_body_bytes",
        "_cancel_call",
        "_facts",
        "_parts",
        "_policies",
        "_protocol",
        "_settled",
        "_streamed",
        "_target",
        "request",
    )

    def __init__(
        self,
        parts: Parts,
        live: Live,
        protocol: FastProtocol,
        target: Target,
        parsed: Parsed,
    ) -> None:
        self._parts = parts
        self._policies = live.policies
        self._protocol = protocol
        self._target = target
        self._facts: dict[str, object] = {}
        self.request = FastRequest(
            target.method,
            target.raw_path,
            parsed.fields,
            parsed.made,
            target.made,
            parsed.body,
            protocol,
            target.route.match_info,
            self._facts,
            self,
            live,
        )
        self._admitted = False  # counted by load_shed
        self._settled = False  # the call that was begun has its outcome, or was cancelled
        self._cancel_call: Cancel | None = None
        self._streamed: Answer | None = None  # its head and body have left by `stream`
        self._body_bytes = 0
        self._answer: web.StreamResponse | None = None
        self._began = time.perf_counter()

    def begin(self) -> bool:
        """Go through the guards, and answer at once if nothing has to be waited for.

        Returns:
            Whether that has been done; else it goes on in a task, or when its runner answers.
        """
        self._parts.metrics.in_flight[self._target.route.label] += 1
        try:
            answer: web.StreamResponse | None = self._check()
            if answer is None and self._is_begun():
                return False
        except Exception as failure:  # noqa: BLE001
            answer = answer_to(self.request, failure, self._parts.render)
        self._answer = answer
        if not isinstance(answer, Answer) or self._protocol.transport is None:
            self._protocol.run(self._run())
            return False
        self._send(answer)
        self._end(ANSWERED, answer.status, outcome_of(answer.status))
        if self._protocol.writing_paused or not self.request.keep_alive:  # else nothing has begun
            self._protocol.answered(keep_alive=self.request.keep_alive)
        return True

    def cancel(self) -> None:
        """Nobody waits for the answer any more; unlike a task's, at once."""
        if self._settled or self._cancel_call is None:
            return
        self._settled = True
        self._cancel_call()
        self._note_leaving()
        self._parts.in_flight.end(self.request)
        self._end(ABANDONED, None, metrics.ABANDONED)
        self._protocol.over(keep_alive=not self._parts.state.stopping)

    def repeat(self, live: Live) -> Repeat | None:
        """How to answer the same question again, when the answer that was given may be."""
        answer, request = self._answer, self.request
        if not isinstance(answer, Answer) or answer.again is None:
            return None
        chosen = request.fields.get("x-request-id")
        return Repeat(
            label=self._target.route.label,
            method=self._target.method,
            status=answer.status,
            head=self._parts.heads.unfinished(request, answer),
            request_id=chosen if chosen == request.request_id else None,
            served_by=request[SERVED_BY],
            facts=dict(self._facts),
            policies=live.policies,
            generation=live.slot.current,
            again=answer.again,
            keep_alive=request.keep_alive,
        )

    async def stream(
        self, status: int, headers: Pairs, length: int, body: ByteStream
    ) -> web.StreamResponse:
        """See Streams. The client's own pace holds the runner back."""
        protocol = self._protocol
        transport = protocol.transport
        if transport is None:
            raise ConnectionResetError
        answer = self._streamed = Answer(status, headers, length=length)
        head = self._parts.heads.head(self.request, answer)
        self._facts["status"] = status
        # From here on a second answer would land inside this one: whoever answers for failures
        # looks at this count.
        self.request.writer.output_size = len(head)
        transport.write(head)

        def take(part: bytes) -> bool:
            self._body_bytes += len(part)
            transport.write(part)
            return not protocol._paused

        if isinstance(body, Http1Body):
            while not await body.forward(take):
                await protocol._drain_helper()
        else:
            async for part in body:
                if not take(part):
                    await protocol._drain_helper()
        return answer

    def _check(self) -> Answer | None:
        """What comes before the handler in the middlewares' order; the early answer, if any.

        Raises whatever a guard refuses with.
        """
        request, target, parts = self.request, self._target, self._parts
        parts.in_flight.admit(self._policies.load_shed)
        self._admitted = True
        if not target.has_one_reading:
            check_target(target.raw_path)
        check_host(request.fields["host"])
        route = target.route
        if route.caller is not None:
            route.caller(request)
        if request.whole_body:
            check_length(route.body_limit(), len(request.whole_body))
        return None if route.early is None else route.early(request)

    def _is_begun(self) -> bool:
        """Whether the call to the runner is on its way; its outcome comes to `_done`."""
        route = self._target.route
        if route.prompt is None:
            return False
        route.token(self.request)
        self._cancel_call = route.prompt(self.request, self._done)
        if self._cancel_call is None:
            return False
        if not self._settled:
            self._parts.in_flight.begin(self.request)
            self._protocol.hold(self)
        return True

    def _done(
        self, came: web.StreamResponse | Exception | Coroutine[Any, Any, web.StreamResponse]
    ) -> None:
        """The callback of the call that was begun; see Done."""
        self._settled = True
        protocol = self._protocol
        if isinstance(came, Answer) and protocol.transport is not None:
            self._send(came)
            self._parts.in_flight.end(self.request)
            self._end(ANSWERED, came.status, outcome_of(came.status))
            stopping = self._parts.state.stopping
            protocol.answered(keep_alive=self.request.keep_alive and not stopping)
        elif isinstance(came, web.StreamResponse):
            self._answer = came
            protocol.run(self._run())
        else:
            protocol.run(self._run(_raised(came) if isinstance(came, Exception) else came))

    async def _run(self, late: Coroutine[Any, Any, web.StreamResponse] | None = None) -> None:
        """The part that has to wait: for the handler, for aiohttp's writer, or for the client.

        Args:
            late: the rest of a call that was begun by callback.
        """
        request, answer, protocol = self.request, self._answer, self._protocol
        event, status, outcome = ANSWERED, None, metrics.BROKEN_OFF
        keep_alive = request.keep_alive
        self._parts.in_flight.begin(request)
        try:
            if answer is None:
                answer = await self._handled(late)
            status = answer.status
            if answer is self._streamed:
                pass  # it is out already
            elif isinstance(answer, Answer):
                self._send(answer)
            else:
                await self._write(answer)
                keep_alive = keep_alive and answer.keep_alive is not False
            if protocol._paused:
                await protocol._drain_helper()
            outcome = outcome_of(status)
            if is_gone(request):
                event = ABANDONED
        except asyncio.CancelledError:
            event, outcome = ABANDONED, metrics.ABANDONED
            self._note_leaving()
            raise
        except ConnectionError:
            event, outcome = ABANDONED, metrics.ABANDONED
            note(request, reason="client_gone")
        except Exception as failure:  # noqa: BLE001
            note_cut_off(request, failure)
            keep_alive = False
        finally:
            self._parts.in_flight.end(request)
            self._end(event, status, outcome)
            protocol.over(keep_alive=keep_alive and not self._parts.state.stopping)

    async def _handled(
        self, late: Coroutine[Any, Any, web.StreamResponse] | None
    ) -> web.StreamResponse:
        route, request = self._target.route, self.request
        try:
            if late is not None:
                return await late
            route.token(request)
            return await route.handler(request)
        except Exception as failure:  # noqa: BLE001
            return answer_to(request, failure, self._parts.render)

    def _note_leaving(self) -> None:
        note(self.request, reason="client_gone" if is_gone(self.request) else "cancelled")

    def _send(self, answer: Answer) -> None:
        self._facts["status"] = answer.status
        transport = self._protocol.transport
        if transport is None:
            return
        head = self._parts.heads.head(self.request, answer)
        body = answer.body
        if not body or answer.status in BODILESS or self._target.method == "HEAD":
            transport.write(head)
            return
        self._body_bytes = len(body)
        if len(body) <= JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def _write(self, answer: web.StreamResponse) -> None:
        """Through aiohttp's own writer, unless the handler has done so."""
        if answer.prepared:
            return
        self._facts["status"] = answer.status
        await answer.prepare(self.request)
        await answer.write_eof()

    def _end(self, event: str, status: int | None, outcome: str) -> None:
        parts, request, target = self._parts, self.request, self._target
        label, method = target.route.label, target.method
        duration_s = time.perf_counter() - self._began
        served_by = request._state.get(SERVED_BY)
        if self._admitted:
            parts.in_flight.count -= 1
        parts.metrics.ended(label, method, status, served_by, outcome, duration_s)
        whole = request.whole_body
        parts.lines.write(
            event,
            request.request_id,
            method,
            label,
            served_by,
            self._facts,
            duration_s,
            len(whole) if whole else 0,
            self._body_bytes or request.streamed_bytes,
        )
        self._cancel_call = None
        request.let_go()


async def _raised(failure: Exception) -> web.StreamResponse:
    raise failure
