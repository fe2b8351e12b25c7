"""A worker's side of the channel: its part in reloads, and how it asks the others."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from gateway.fleet import Fleet, OwnReport, Report
from gateway.generations.receipts import Receipt, Receipts
from gateway.generations.swap import PREPARE_S, Candidate, Committed, Refused, Swapper
from gateway.process.serve import Serving
from gateway.reload import Reloading
from gateway.settings import Settings
from gateway.sockets.listeners import Sockets
from gateway.supervisor.channel import AskFailed, Channel, ChannelClosed
from gateway.supervisor.start import REPORT_S, START_S, Start, Started
from middleware.errors import Overloaded

FAREWELL_S: Final = 2.0
RELOAD_S: Final = 4 * PREPARE_S
"""How long a caller waits for a reload, the ones before it included."""

_log = structlog.get_logger("worker")


class NothingPrepared(Exception):
    """The supervisor asked for a step without the one that has to come before it."""


class Member:
    """One worker among the others.

    Attributes:
        own: what this process says of itself; set before it serves.
        hear: takes note of what another one says; set before it serves.
    """

    own: OwnReport
    hear: Callable[[str, tuple[Any, ...]], None]

    def __init__(self, start: Start, end: socket.socket) -> None:
        self.size = start.size
        self.generation = start.generation
        self._start = start
        self._channel = Channel(end, self._handle)
        self._receipts: Receipts | None = None
        self._part: Part | None = None
        self._serving: Serving | None = None
        self._watch: asyncio.Task[None] | None = None
        self._by_place: Sequence[Sockets] = ()

    async def join(self, serving: Serving, by_place: Sequence[Sockets]) -> Started:
        """Say that this worker serves, and wait until the others do too.

        Raises:
            ChannelClosed, TimeoutError: the supervisor is gone or stuck.
        """
        self._serving, self._by_place = serving, by_place
        await self._channel.open()
        self._watch = asyncio.create_task(self._stop_with_supervisor(serving), name="supervisor")
        told: Started = await self._channel.ask("started", within_s=START_S)
        return told

    async def _stop_with_supervisor(self, serving: Serving) -> None:
        await self._channel.closed.wait()
        if not serving.stop.is_set():
            _log.error("supervisor_lost")
            serving.stop.set()

    def not_started(self, why: Mapping[str, str]) -> None:
        """Say why this worker ends without having joined. Raises OSError when nobody hears it."""
        self._channel.tell_unopened("not_started", why=why)

    def leaving(self) -> None:
        """Say that this worker accepts no more."""
        self._channel.tell("leaving")

    async def farewell(self) -> None:
        """Leave what was counted behind."""
        with suppress(ChannelClosed, TimeoutError, AskFailed):
            metrics = await self.own("metrics", {})
            await self._channel.ask("farewell", within_s=FAREWELL_S, metrics=metrics)
        if self._watch is not None:
            self._watch.cancel()
        await self._channel.aclose()

    def load(self) -> Settings:
        """Workers do not read settings: they are told."""
        raise AssertionError("the supervisor loads settings")

    def reloading(
        self, swapper: Swapper, receipts: Receipts, load: Callable[[], Settings]
    ) -> Reloading:
        """See Fleet."""
        self._receipts = receipts
        receipts.follow(*self._start.receipts)
        self._part = Part(swapper)
        return ByTheSupervisor(self._channel, self._part)

    async def reports(self, what: str, **arguments: Any) -> Sequence[Report]:
        """See Fleet."""
        own = await self.own(what, arguments)
        mine = Report(worker=self._start.place, pid=os.getpid(), said=own)
        try:
            others: list[Report] = await self._channel.ask(
                "reports",
                within_s=REPORT_S + 1.0,
                what=what,
                arguments=arguments,
                own=own if what == "metrics" else None,
            )
            if what == "metrics":
                return others  # with this worker's part, as of one moment
        except (ChannelClosed, TimeoutError, AskFailed) as failure:
            _log.warning("workers_not_asked", error=type(failure).__name__)
            places = (place for place in range(self.size) if place != self._start.place)
            # Somebody may well serve there: a place that is known to be empty has no pid.
            others = [Report(worker=place, pid=-1) for place in places]
        return sorted((mine, *others), key=lambda report: report.worker)

    def tell(self, what: str, *said: Any) -> None:
        """See Fleet."""
        self._channel.tell("tell_others", what=what, said=said)

    async def _handle(self, verb: str, arguments: dict[str, Any]) -> Any:
        match verb:
            case "report":
                return await self.own(arguments["what"], arguments["arguments"])
            case "heard":
                return self.hear(arguments["what"], arguments["said"])
            case "receipts" if self._receipts is not None:
                return self._receipts.follow(*arguments["state"])
            case "stop" if self._serving is not None:
                return self._serving.stop.set()
            case "cover" if self._serving is not None:
                return await self._cover(self._serving, arguments["places"])
            case "reread_certificate" if self._serving is not None:
                if self._serving.certificate is not None:
                    self._serving.certificate.reread()
                return None
            case _ if self._part is not None:
                return await self._part.play(verb, arguments)
        raise AssertionError(verb)

    async def _cover(self, serving: Serving, places: Sequence[int]) -> None:
        if not serving.stop.is_set():
            await serving.accept_on([one for place in places for one in self._by_place[place]])


class Part:
    """What one worker does in a swap of all of them. It makes or holds one candidate at most."""

    def __init__(self, swapper: Swapper) -> None:
        self._swapper = swapper
        self._preparing: asyncio.Task[Candidate] | None = None
        self._committed: Committed | None = None

    async def play(self, verb: str, arguments: dict[str, Any]) -> Any:
        """Do what the supervisor asks for."""
        match verb:
            case "prepare":
                return await self._prepare(**arguments)
            case "commit":
                return self._commit()
            case "abort":
                return await self.abort()
            case "drained":
                return await self._drained()
        raise AssertionError(verb)

    async def _prepare(self, settings: Settings, *, warmed: bool) -> str | None:
        """Why these settings cannot serve here; None when they can, and are ready to."""
        await self.abort()
        work = self._swapper.prepare(settings, warmed=warmed)
        self._preparing = asyncio.create_task(work, name="prepare")
        try:
            await self._preparing
        except Refused as refused:
            self._preparing = None
            return refused.reason
        return None

    def _commit(self) -> tuple[int, int]:
        """The generation that serves now, and what ran when it began to."""
        prepared, self._preparing = self._preparing, None
        if prepared is None:
            raise NothingPrepared
        self._committed = self._swapper.commit(prepared.result())
        return self._committed.generation, self._committed.in_flight_at_switch

    async def abort(self) -> None:
        """Close what was prepared, and what is being prepared, if anything is.

        The supervisor does not wait for ever, and one prepare must not become another's candidate.
        """
        preparing, self._preparing = self._preparing, None
        if preparing is None:
            return
        preparing.cancel()
        (prepared,) = await asyncio.gather(preparing, return_exceptions=True)
        if isinstance(prepared, Candidate):
            await self._swapper.abort(prepared)

    async def _drained(self) -> tuple[float, int]:
        """How the generation ended that the last commit replaced."""
        if self._committed is None:
            raise NothingPrepared
        drained = await asyncio.shield(self._committed.drained)
        return drained.drained_ms, drained.cut_off


class ByTheSupervisor:
    """Reloads are the supervisor's to carry out, whoever asks for them."""

    def __init__(self, channel: Channel, part: Part) -> None:
        self._channel = channel
        self._part = part

    def signalled(self) -> None:
        """See Reloading."""
        self._channel.tell("signalled")

    async def reload(self, *, plan: bool = False, trigger: str = "admin") -> Receipt:
        """See Reloading. Raises Overloaded when the supervisor does not answer."""
        try:
            receipt: Receipt = await self._channel.ask(
                "reload", within_s=RELOAD_S, plan=plan, trigger=trigger
            )
        except (ChannelClosed, TimeoutError) as failure:
            raise Overloaded(retry_after_s=1, reason="workers_not_asked") from failure
        return receipt

    async def aclose(self) -> None:
        """See Reloading."""
        await self._part.abort()


_guard: type[Fleet] = Member
