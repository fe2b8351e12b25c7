"""How a client session tells, while an exchange runs, which phase it is in.

aiohttp's tracing signals are the only public place that knows whether a request waits in line,
dials, or goes out over a connection that was used before.
"""

from types import SimpleNamespace

import aiohttp
from aiohttp import tracing

from backends.errors import Phase
from tests.reference_transport.countdown import Countdown


class Attempt:
    """One exchange, as far as the session has reported it.

    Attributes:
        countdown: moved on by the reports.
        reused: it goes out over a connection that has served an earlier exchange.
    """

    def __init__(self, countdown: Countdown) -> None:
        self.countdown = countdown
        self.reused = False


class SessionTrace:
    """Takes the reports of one session; every request names its Attempt as the context.

    Attributes:
        opened: connections that came about.
        reused: requests sent over a connection that had been used before.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.reused = 0
        self.config = aiohttp.TraceConfig()
        self.config.on_connection_queued_start.append(self._queued)
        self.config.on_connection_create_start.append(self._dialling)
        self.config.on_connection_create_end.append(self._connected)
        self.config.on_connection_reuseconn.append(self._reusing)
        self.config.on_request_headers_sent.append(self._sending)

    async def _queued(
        self,
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        __: tracing.TraceConnectionQueuedStartParams,
    ) -> None:
        _attempt(context).countdown.enter(Phase.ADMIT)

    async def _dialling(
        self,
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        __: tracing.TraceConnectionCreateStartParams,
    ) -> None:
        attempt = _attempt(context)
        attempt.reused = False  # a connection from the pool may have been refused just now
        attempt.countdown.enter(Phase.CONNECT)

    async def _connected(
        self,
        _: aiohttp.ClientSession,
        __: SimpleNamespace,
        ___: tracing.TraceConnectionCreateEndParams,
    ) -> None:
        self.opened += 1

    async def _reusing(
        self,
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        __: tracing.TraceConnectionReuseconnParams,
    ) -> None:
        _attempt(context).reused = True

    async def _sending(
        self,
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        __: tracing.TraceRequestHeadersSentParams,
    ) -> None:
        attempt = _attempt(context)
        self.reused += attempt.reused
        attempt.countdown.sent = True
        attempt.countdown.enter(Phase.FIRST_BYTE)


def _attempt(context: SimpleNamespace) -> Attempt:
    attempt: Attempt = context.trace_request_ctx
    return attempt
