"""A worker's end of the channel: what it does when the other end is slow, or gone."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.generations.swap import Candidate, Committed, Swapper
from gateway.process.serve import Serving
from gateway.settings import Settings, load
from gateway.supervisor.channel import Channel
from gateway.supervisor.member import ByTheSupervisor, Member, Part
from gateway.supervisor.start import Start
from gateway.supervisor.worker import Worker
from middleware.errors import Overloaded


class Stoppable:
    """As much of Serving as a member needs."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()


@contextmanager
def member(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Member, Worker, Any]]:
    """A member, the worker around it, and the supervisor's end of its channel."""
    monkeypatch.chdir(folder)
    ours, its = socket.socketpair()
    with ours, its:
        start = Start(
            version="1", place=0, size=2, settings=load({}), generation=1,
            receipts=([], {}), sockets=((),),
        )  # fmt: skip
        one = Member(start, its)

        async def own(_what: str, _arguments: dict[str, Any], /) -> Any:
            return []

        one.own = own
        yield one, Worker(start, one), ours


async def test_a_worker_whose_supervisor_goes_while_it_starts_stops_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with member(tmp_path, monkeypatch) as (one, worker, supervisor):
        serving = Stoppable()
        starting = asyncio.create_task(
            worker.started("", load({}), cast(Any, None), cast(Serving, serving))
        )
        supervisor.setblocking(False)
        await asyncio.get_running_loop().sock_recv(supervisor, 1)  # it says that it serves
        supervisor.close()
        async with asyncio.timeout(20):
            await starting
            await serving.stop.wait()
        await one.farewell()


async def test_a_worker_that_could_not_join_can_say_farewell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As one whose sockets cannot be used: what it ends with must say that, not something else.
    with member(tmp_path, monkeypatch) as (one, _, _):
        await one.farewell()


async def test_a_reload_without_a_supervisor_is_no_fault_of_the_gateway() -> None:
    ours, its = socket.socketpair()

    async def silent(_verb: str, _arguments: dict[str, Any]) -> None: ...

    channel = Channel(its, silent)
    await channel.open()
    ours.close()
    with pytest.raises(Overloaded) as caught:
        await ByTheSupervisor(channel, Part(cast(Swapper, None))).reload()
    assert caught.value.reason == "workers_not_asked"
    await channel.aclose()


class SlowSwapper:
    """Prepares for as long as the test says.

    Attributes:
        may_end: by the number of the prepare.
        closed: the settings of those that will not serve.
    """

    def __init__(self) -> None:
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.may_end = [asyncio.Event(), asyncio.Event()]
        self.closed: list[int] = []
        self.committed: int | None = None
        self._count = 0

    async def prepare(self, _settings: Settings, *, warmed: bool) -> Candidate:
        number, self._count = self._count, self._count + 1
        self.begun.put_nowait(number)
        try:
            await self.may_end[number].wait()
        except asyncio.CancelledError:
            self.closed.append(number)
            raise
        return Candidate(
            settings=cast(Settings, number), backend=cast(Any, None), installs=cast(Any, None),
            auth=cast(Any, None), health=cast(Any, None),
        )  # fmt: skip

    def commit(self, candidate: Candidate) -> Committed:
        self.committed = cast(int, candidate.settings)
        return Committed(generation=2, in_flight_at_switch=0, drained=cast(Any, None))

    async def abort(self, candidate: Candidate) -> None:
        self.closed.append(cast(int, candidate.settings))


async def test_a_prepare_that_the_supervisor_has_given_up_does_not_become_the_next_ones() -> None:
    # A worker that was frozen for longer than it is waited for hears all of it at once.
    swapper = SlowSwapper()
    part = Part(cast(Swapper, swapper))
    given_up = asyncio.create_task(part.play("prepare", {"settings": None, "warmed": False}))
    assert await swapper.begun.get() == 0
    wanted = asyncio.create_task(part.play("prepare", {"settings": None, "warmed": False}))
    assert await swapper.begun.get() == 1
    swapper.may_end[1].set()
    assert await wanted is None
    swapper.may_end[0].set()
    await asyncio.gather(given_up, return_exceptions=True)
    await part.play("commit", {})
    assert swapper.committed == 1
    assert swapper.closed == [0]


async def test_an_abort_ends_what_is_being_prepared() -> None:
    swapper = SlowSwapper()
    part = Part(cast(Swapper, swapper))
    preparing = asyncio.create_task(part.play("prepare", {"settings": None, "warmed": False}))
    await swapper.begun.get()
    await part.play("abort", {})
    assert swapper.closed == [0]
    await asyncio.gather(preparing, return_exceptions=True)
