"""One connection to a runner: one exchange after another, never two at once."""

import asyncio
import select
from collections.abc import Callable
from typing import Final, Protocol, cast

from backends.errors import BackendError, Phase, RunnerProtocolError
from backends.turn_writes import TurnTransport
from backends.upstream.bodies import SMALL_BYTES, WholeBody
from backends.upstream.http1_answer import AnswerFault, AnswerReader
from backends.upstream.http1_body import Http1Body
from backends.upstream.http1_deadline import Deadline
from backends.upstream.http1_whole import WholeAnswer, WholeAnswerReader
from backends.upstream.transport import (
    Budget,
    ConnectionLost,
    UpstreamRequest,
    UpstreamResponse,
)

_PIECE_BYTES: Final = 256 * 1024

OnAnswer = Callable[[UpstreamResponse | BackendError], None]
"""Called once with the head of an answer, or with why there is none."""


class Owner(Protocol):
    """The pool that a connection belongs to."""

    def made(self, connection: "Http1Connection") -> None:
        """A socket is open."""

    def free(self, connection: "Http1Connection", *, reusable: bool) -> None:
        """An exchange is over. Called once for each."""

    def lost(self, connection: "Http1Connection") -> None:
        """The socket is gone."""

    def expect_idle_limit(self, seconds: float) -> None:
        """The runner says how long it keeps idle connections."""


class Http1Connection(asyncio.Protocol):
    """Carries an exchange from `begin` to the last byte of its answer.

    Attributes:
        exchanges: how many were begun.
        idle_since: when the last one was over, on the pool's clock.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._whole = WholeAnswerReader()
        self._reader = AnswerReader()
        self._deadline = Deadline(self._expired)
        self._on_answer: OnAnswer | None = None  # None: no exchange is under way
        self._awaits_head = False
        self._is_parsing = False  # the answer did not come in one read: `_reader` has it
        self._body: Http1Body | None = None
        self._unsent: memoryview | None = None
        self._may_write = True
        self.exchanges = 0
        self.idle_since = 0.0

    # The pool's side.

    def is_quiet(self) -> bool:
        """Nothing came since the last answer ended, not even bytes that nobody has read yet."""
        return not self._transport.beneath.is_closing() and not self._incoming.poll(0)

    def begin(self, request: UpstreamRequest, head: bytes, on_answer: OnAnswer) -> None:
        """Send a request; its outcome goes to `on_answer`."""
        self.exchanges += 1
        self._budget: Budget = request.budget
        self._on_answer = on_answer
        self._awaits_head = True
        self._is_parsing = False
        self._head_only = request.method == "HEAD"
        if self._transport.beneath.is_closing():
            self._fail(ConnectionLost(reused=self.exchanges > 1, sent=False))
            return
        self._deadline.for_head(request.budget)
        body = request.body
        if not body:
            self._transport.write(head)
        elif len(body) <= SMALL_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._unsent = memoryview(body)
            self._send_more()

    def cancel(self, on_answer: OnAnswer) -> None:
        """Abandon the exchange that was begun with `on_answer`, if it is still under way."""
        if self._on_answer is on_answer:
            self.abandon()

    def close(self) -> None:
        """End it now, with whatever it was doing."""
        if self._on_answer is not None:
            phase = Phase.FIRST_BYTE if self._awaits_head else Phase.IDLE
            self._fail(RunnerProtocolError("backend_closed", phase=phase))
        else:
            self._transport.abort()

    # The body's side.

    def pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def await_part(self) -> None:
        self._deadline.for_part(self._budget)

    def content_taken(self) -> None:
        self._over(reusable=self._is_reusable())

    def abandon(self) -> None:
        self._over(reusable=False)

    # The event loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = TurnTransport(cast(asyncio.Transport, transport))
        # The event loop may have had no turn to read what the kernel already holds.
        self._incoming = select.poll()
        self._incoming.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        if self._on_answer is None or (self._is_parsing and self._reader.complete):
            self._transport.abort()  # it answers nobody, and would pass for the next answer
        elif self._is_parsing:
            self._parse(data)
        elif not self._head_only and (whole := self._whole.read(data)) is not None:
            self._answer_whole(self._on_answer, whole)
        else:
            self._is_parsing = True
            self._reader.expect(head_only=self._head_only)
            self._parse(data)

    def eof_received(self) -> None:
        if self._body is not None and not self._reader.complete and self._reader.end():
            self._deadline.lift()
            self._body.put(b"", complete=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        if self._awaits_head:
            self._fail(self._lost_head())
        elif self._body is not None and not self._reader.complete:
            self._fail(RunnerProtocolError("truncated_answer", phase=Phase.BODY))
        self._unsent = None
        self._owner.lost(self)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._send_more()

    def _send_more(self) -> None:
        while self._unsent is not None and self._may_write and not self._transport.is_closing():
            piece, rest = self._unsent[:_PIECE_BYTES], self._unsent[_PIECE_BYTES:]
            self._unsent = rest or None
            self._transport.write(piece)

    def _parse(self, data: bytes) -> None:
        reader, body = self._reader, self._body
        try:
            reader.feed(data)
        except AnswerFault as fault:
            if self._awaits_head:
                self._fail(RunnerProtocolError(fault.reason, phase=Phase.FIRST_BYTE))
            else:
                self._fail(RunnerProtocolError("truncated_answer", phase=Phase.BODY))
            return
        if body is not None:
            content = reader.take()
            if content or reader.complete:  # framing alone is no progress
                if self._deadline.has_passed and not reader.complete:
                    self._expired()  # its timer waits for a turn that a busy runner never leaves
                    return
                self._deadline.lift()
                body.put(content, complete=reader.complete)
        elif reader.head_complete and self._on_answer is not None:
            self._answer(self._on_answer)

    def _answer_whole(self, on_answer: OnAnswer, whole: WholeAnswer) -> None:
        """The connection is free before anybody hears of it: the next call may take it."""
        status, headers, body = whole
        self._over(reusable=self._is_undisturbed())
        on_answer(UpstreamResponse(status=status, headers=headers, body=body))

    def _answer(self, on_answer: OnAnswer) -> None:
        self._awaits_head = False
        reader = self._reader
        if reader.idle_limit_s:
            self._owner.expect_idle_limit(reader.idle_limit_s)
        status, headers, content = reader.status, reader.headers, reader.take()
        if reader.complete and len(content) <= SMALL_BYTES:
            self._over(reusable=self._is_reusable())
            on_answer(UpstreamResponse(status=status, headers=headers, body=WholeBody(content)))
            return
        self._deadline.lift()
        self._budget = self._budget.of_body(headers)
        body = self._body = Http1Body(self)
        body.put(content, complete=reader.complete)
        on_answer(UpstreamResponse(status=status, headers=headers, body=body))

    def _is_reusable(self) -> bool:
        reader = self._reader
        return (
            reader.complete and reader.keep_alive and not reader.excess and self._is_undisturbed()
        )

    def _is_undisturbed(self) -> bool:
        """An answer that came before its request was out leaves the runner reading."""
        transport, beneath = self._transport, self._transport.beneath
        return (
            self._unsent is None
            and not beneath.is_closing()
            and not transport.held
            and not beneath.get_write_buffer_size()
        )

    def _over(self, *, reusable: bool) -> None:
        self._on_answer = self._body = self._unsent = None
        self._awaits_head = False
        self._deadline.lift()
        if not reusable:
            # close() would first flush what the peer has not read, for as long as it likes.
            self._transport.abort()
        self._owner.free(self, reusable=reusable)

    def _expired(self) -> None:
        self._fail(self._deadline.failure())

    def _fail(self, failure: BackendError) -> None:
        on_answer, body, awaits_head = self._on_answer, self._body, self._awaits_head
        self._over(reusable=False)
        if awaits_head and on_answer is not None:
            on_answer(failure)
        elif body is not None:
            body.fail(failure)

    def _lost_head(self) -> BackendError:
        if self._is_parsing and self._reader.begun:
            return RunnerProtocolError("truncated_answer", phase=Phase.FIRST_BYTE)
        return ConnectionLost(reused=self.exchanges > 1, sent=True)
