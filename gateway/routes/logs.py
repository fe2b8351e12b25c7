"""The logs as server-sent events, for operators: the gateway's own lines and the runner's."""

import re
import time
from contextlib import aclosing
from typing import Final

from aiohttp import web

from backends.contract import REQUEST_ID_FORM
from gateway.http.event_streams import HEARTBEAT_S, write_event
from gateway.keys import FLEET, LIVE, STATE
from gateway.logs.stream import LogEvent, LogQuery, LogStream, OthersLines
from gateway.logs.tap import TAP, TooManyWatchers
from middleware.errors import InvalidRequest, RateLimited

WRITE_S: Final = 15.0
MAX_TAIL: Final = 1000

_FOLLOW: Final = {"": True, "true": True, "1": True, "false": False, "0": False}


async def logs(request: web.Request) -> web.StreamResponse:
    """`?follow=false` ends with what was written so far; `tail` lines of each log to begin
    with; `request` for the lines that name one request.

    Ends when the gateway stops. A reader that takes nothing for 15 s is cut off.

    Raises:
        InvalidRequest: a parameter is malformed.
        RateLimited: too many are reading already.
    """
    query = _query(request)
    live, state = request.app[LIVE], request.app[STATE]
    fleet = request.app[FLEET]
    stream = LogStream(
        TAP,
        lambda: live.slot.current.backend,
        lambda: live.settings.secrets_now,
        OthersLines(lambda seen: fleet.reports("log", seen=seen)) if fleet.size > 1 else None,
    )
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    if not query.follow:
        found = await stream.so_far(query)
        await response.prepare(request)
        for line in found:
            await write_event(response, _spelled(line), within_s=WRITE_S)
        return response
    async with aclosing(stream.to_come(query)) as events:
        try:
            first = await anext(events)
        except TooManyWatchers:
            raise RateLimited(5, "too_many_log_readers") from None
        await response.prepare(request)
        await write_event(
            response, b": following\n\n" if first is None else _spelled(first), within_s=WRITE_S
        )
        spoke = time.monotonic()
        async for event in events:
            if state.stopping:
                break
            if event is None and time.monotonic() - spoke < HEARTBEAT_S:
                continue
            await write_event(
                response, b": alive\n\n" if event is None else _spelled(event), within_s=WRITE_S
            )
            spoke = time.monotonic()
    return response


def _spelled(event: LogEvent) -> bytes:
    """One event of the stream; JSON has no line breaks of its own (HTML, section 9.2.6)."""
    return b"data: " + event.as_json() + b"\n\n"


def _query(request: web.Request) -> LogQuery:
    follow = _FOLLOW.get(request.query.get("follow", "").lower())
    if follow is None:
        raise InvalidRequest("not_a_boolean", field="follow")
    tail = request.query.get("tail", "200")
    if re.fullmatch(r"[0-9]{1,4}", tail) is None or int(tail) > MAX_TAIL:
        raise InvalidRequest("not_a_line_count", field="tail")
    request_id = request.query.get("request")
    if request_id is not None and REQUEST_ID_FORM.fullmatch(request_id) is None:
        raise InvalidRequest("not_a_request_id", field="request")
    return LogQuery(follow=follow, tail=int(tail), request_id=request_id)
