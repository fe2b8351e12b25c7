"""What an exchange is made of: its route, the pipeline's parts, its connection."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from backends.prompt import Cancel
from gateway.fast_path.heads import Heads
from gateway.fast_path.request import FastRequest
from gateway.http.answer import Answer
from gateway.http.dispatch import Handler
from gateway.state import State
from middleware.access_log import AccessLines
from middleware.body_limit import BodyLimit
from middleware.errors import Refusal
from middleware.guard import Guard
from middleware.load_shed import InFlight
from middleware.metrics import Metrics
from middleware.problem_details import Render
from middleware.request_target import check_target
from middleware.source import Source

Early = Callable[[FastRequest], Answer | None]
"""The answer to a request that needs no waiting, or None for the handler to find it."""

Done = Callable[[web.StreamResponse | Exception | Coroutine[Any, Any, web.StreamResponse]], None]
"""Called once with the outcome: an answer, a failure, or a coroutine that ends in one of them."""

Prompt = Callable[[FastRequest, Done], Cancel | None]
"""The handler by callback: returns how to cancel what it began; None: run the handler instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRoute:
    """A route whose requests may go this way.

    Attributes:
        caller: asked who calls, where the route wants to know.
        token: sets the runner's token on the request; run before the handler, after `early`.
        prompt: tried before the handler.
        body_limit: how much may be sent there.
    """

    match_info: UrlMappingMatchInfo
    label: str
    handler: Handler
    caller: Guard | None
    token: Guard
    early: Early | None
    prompt: Prompt | None
    body_limit: Source[BodyLimit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the pipeline is made of."""

    heads: Heads
    lines: AccessLines
    metrics: Metrics
    render: Render
    in_flight: InFlight
    state: State


class Target:
    """What a request line says: the route, and whether its target has one reading."""

    __slots__ = ("has_one_reading", "made", "method", "raw_path", "route")

    def __init__(self, route: FastRoute, method: str, raw_path: str) -> None:
        self.route = route
        self.method = method
        self.raw_path = raw_path
        self.made: dict[Any, Any] = {}  # see of_target
        try:
            check_target(raw_path)
            self.has_one_reading = True
        except Refusal:
            self.has_one_reading = False


class Cancellable(Protocol):
    """What a connection waits for."""

    def cancel(self) -> object:
        """Nobody waits any more."""


class FastProtocol(RequestHandler):
    """What an exchange needs of the connection it is on."""

    __slots__ = ()

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` in a task; nothing else of this connection is answered until `over`."""
        raise NotImplementedError

    def hold(self, exchange: Cancellable) -> None:
        """Wait for a call by callback; nothing else of this connection is answered until `over`."""
        raise NotImplementedError

    def over(self, *, keep_alive: bool) -> None:
        """What was run or held has come to its end."""
        raise NotImplementedError

    def answered(self, *, keep_alive: bool) -> None:
        """All of an answer was written: it is over, once the client has taken most of that."""
        if self.writing_paused:
            self.run(self._drain(keep_alive=keep_alive))
        else:
            self.over(keep_alive=keep_alive)

    async def _drain(self, *, keep_alive: bool) -> None:
        try:
            await self._drain_helper()
        finally:
            self.over(keep_alive=keep_alive)
