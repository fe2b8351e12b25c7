"""Writes the heads of answers, and remembers them by kind of answer.

The stamps alone decide what stands in a head (gateway.pipeline), as for every other answer. Their
outcome is remembered here for as long as nothing that they look at has changed: whoever lets a
stamp look at something new adds it to the key in `unfinished`.
"""

import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from backends.contract import Pairs
from backends.memo import Memo
from gateway.fast_path.request import FastRequest
from gateway.generations.live import LiveRef
from gateway.http.answer import BODILESS, Answer
from gateway.state import State
from middleware.backend_tag import SERVED_BY
from middleware.caching import CACHE_RULE
from middleware.guard import Stamp
from middleware.isolation import EXTENSION_FILE

MAX_HEADS: Final = 2048
_MAX_HEAD_BYTES: Final = 4096  # a longer one is not worth remembering

_OF_THIS_ANSWER: Final = frozenset({"content-length", "date", "x-request-id"})
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}

_Kind = tuple[int, Pairs, bool, int, int, bool, str | None, bool, bool]


class Heads:
    """Writes the head of an Answer to a FastRequest.

    Args:
        stamps: applied in order to the answers of a kind that is new.
    """

    def __init__(self, live: LiveRef, stamps: Sequence[Stamp], state: State) -> None:
        self._live = live
        self._state = state
        self._stamps = stamps
        self._known: Memo[_Kind, bytes] = Memo(MAX_HEADS)
        self._policies: object = None
        self._date = b""
        self._date_of = 0

    def head(self, request: FastRequest, answer: Answer) -> bytes:
        """Status line and fields, the empty line included."""
        return self.finished(self.unfinished(request, answer), request.request_id)

    def unfinished(self, request: FastRequest, answer: Answer) -> bytes:
        """The head without its id, its date and its end: the same for every such answer."""
        live, state = self._live.now, request._state
        policies = live.policies
        if policies is not self._policies:
            self._known.clear()
            self._policies = policies
        served_by, rule = state.get(SERVED_BY), state.get(CACHE_RULE)
        kind = (
            answer.status,
            answer.pairs,
            not answer.body,
            live.slot.current.number if served_by is None else served_by.generation,
            id(rule),  # a member of an enumeration: there is only one of each
            EXTENSION_FILE in state,
            request.fields.get("origin") if policies.cors.allowed_origins else None,
            self._state.stopping,
            request.keep_alive,
        )
        known = self._known.get(kind)
        if known is None:
            known = self._remember(kind, self._stamped(request, answer))
        if answer.status in BODILESS:
            return known
        is_told = request.method == "HEAD" or answer.is_head_only
        length = answer.length if is_told else len(answer.body)
        return b"%bContent-Length: %d\r\n" % (known, length)

    def finished(self, unfinished: bytes, request_id: str) -> bytes:
        """`unfinished` with the two fields that are one answer's own, and the end of the head."""
        now = int(time.time())
        if now != self._date_of:
            self._date_of = now
            self._date = f"Date: {formatdate(now, usegmt=True)}\r\n\r\n".encode()
        return b"%bx-request-id: %b\r\n%b" % (unfinished, request_id.encode(), self._date)

    def _stamped(self, request: FastRequest, answer: Answer) -> bytes:
        response = web.StreamResponse(status=answer.status, headers=answer.pairs)
        if answer.body:
            response.headers.setdefault(hdrs.CONTENT_TYPE, "application/octet-stream")
        for stamp in self._stamps:
            stamp(request, response)
        if not request.keep_alive:
            response.headers[hdrs.CONNECTION] = "close"
        fields = [
            (name, value)
            for name, value in response.headers.items()
            if name.lower() not in _OF_THIS_ANSWER
        ]
        text = "".join([f"{name}: {value}\r\n" for name, value in fields])
        if text.count("\r") != len(fields) or text.count("\n") != len(fields) or "\0" in text:
            raise ValueError("a field would end its line")
        line = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}\r\n"
        # What no decoding has understood is left out, as aiohttp does.
        return (line + text).encode(errors="ignore")

    def _remember(self, kind: _Kind, head: bytes) -> bytes:
        if len(head) <= _MAX_HEAD_BYTES:
            self._known.keep(kind, head)
        return head
