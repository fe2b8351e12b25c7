"""The slot: holds the current backend, and lets it be replaced while calls are running.

Every occupant is a *generation*, numbered from 1. A call leases the current generation and
keeps it until its last byte is out, so a switch never reaches into a call that has begun.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Self

from backends.contract import BackendIdentity, BackendKind, BackendStats, RunnerBackend
from backends.prompt import PromptBackend


class Generation:
    """One occupant of the slot, with its own pool, its own streams and its own count.

    Attributes:
        prompt: the backend, when it can be asked without a task.
    """

    def __init__(self, number: int, backend: RunnerBackend) -> None:
        self.number = number
        self.backend = backend
        self.prompt = backend if isinstance(backend, PromptBackend) else None
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def identity(self) -> BackendIdentity:
        return self.backend.identity

    @property
    def in_flight(self) -> int:
        """Leases out: calls, and bodies still on their way."""
        return self._in_flight

    def __enter__(self) -> Self:
        """Take a lease: this generation stays alive for as long as the block runs."""
        if not self._in_flight:
            self._idle.clear()
        self._in_flight += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    async def drained(self, within_s: float) -> bool:
        """Wait until no lease is out, at most `within_s` seconds; whether that was reached."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """How one generation ended."""

    generation: int
    drained: bool  # False: the cap came first
    cut_off: int  # leases still out when the backend was closed


class Slot:
    """The one reference that a swap changes.

    Args:
        first: the number of the generation that `backend` is; more than 1 where this process
            takes the place of one that has seen swaps.
    """

    def __init__(self, backend: RunnerBackend, *, first: int = 1) -> None:
        self._current = Generation(first, backend)
        self._draining: dict[int, Generation] = {}
        self._done: dict[BackendKind, BackendStats] = {}  # by generations that are over

    @property
    def current(self) -> Generation:
        return self._current

    @property
    def draining(self) -> tuple[Generation, ...]:
        """Generations that serve what they began, oldest first."""
        return tuple(self._draining.values())

    def stats(self) -> dict[BackendKind, BackendStats]:
        """What all generations hold and did, those that are over included; by kind."""
        sums = dict(self._done)
        for generation in (*self.draining, self._current):
            _count_in(sums, generation.identity.kind, generation.backend.stats())
        return sums

    def lease(self) -> Generation:
        """The current generation, for a `with` block: it stays whatever is switched meanwhile."""
        return self._current

    def switch(self, candidate: RunnerBackend) -> Generation:
        """Make `candidate` current and return the generation it replaces.

        Synchronous, so no call can see a state between the two. The caller owes the old
        generation a `retire`.
        """
        old = self._current
        self._current = Generation(old.number + 1, candidate)
        self._draining[old.number] = old
        return old

    async def retire(self, old: Generation, *, within_s: float) -> Retirement:
        """Let `old` finish what it began, at most `within_s` seconds, then close it."""
        drained = await old.drained(within_s)  # cancelled here it stays, for `aclose` to close
        cut_off = old.in_flight
        try:
            await old.backend.aclose()
        finally:
            if self._draining.pop(old.number, None) is not None:  # else it is still asked itself
                stats = replace(old.backend.stats(), connections_in_use=0, connections_idle=0)
                _count_in(self._done, old.identity.kind, stats)
        return Retirement(generation=old.number, drained=drained, cut_off=cut_off)

    async def aclose(self, *, within_s: float) -> None:
        """Drain and close every generation, all of them within `within_s` seconds."""
        async with asyncio.TaskGroup() as closing:
            for generation in (*self.draining, self._current):
                closing.create_task(self.retire(generation, within_s=within_s))


def _count_in(
    sums: dict[BackendKind, BackendStats], kind: BackendKind, stats: BackendStats
) -> None:
    sums[kind] = sums[kind] + stats if kind in sums else stats
