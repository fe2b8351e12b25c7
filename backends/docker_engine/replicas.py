"""The runner's containers as connections: one pool each, and the least busy one next."""

import asyncio
from collections.abc import Callable
from itertools import count

from backends.contract import BackendStats
from backends.docker_engine.candidates import Candidate
from backends.docker_engine.watch import Snapshot
from backends.upstream.address import RunnerAddress
from backends.upstream.runner_client import RunnerClient

OpenClient = Callable[[RunnerAddress], RunnerClient]
Key = tuple[str, str, str]


class Replica:
    """One container at one address, from one start of it to its end."""

    def __init__(self, candidate: Candidate, url: str, client: RunnerClient) -> None:
        self.candidate = candidate
        self.client = client
        self.url = url
        self.turn = 0  # when it was picked last
        self.gone = False  # its process ended: what was under way there is lost
        self.doubtful = False  # a call broke off; the engine is to be asked before the next one


class Replicas:
    """Follows the snapshots of a watch.

    A container that ended, or has another address now, loses its connections at once: calls
    still on them could only wait for a peer that is not there. One that is merely not ready
    any more finishes what it began.
    """

    def __init__(self, open_client: OpenClient) -> None:
        self._open_client = open_client
        self._ready: dict[Key, Replica] = {}
        self._resting: dict[Key, Replica] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._turns = count(1)
        self._retries_before = 0

    @property
    def ready(self) -> tuple[Replica, ...]:
        """Those that take calls, in the order of the candidates."""
        return tuple(self._ready.values())

    def follow(self, snapshot: Snapshot) -> None:
        """Open what is new, let rest what is not ready, drop what is gone."""
        known = self._ready | self._resting
        taken = {_key(each): each for each in snapshot.taken}
        alive = {
            (each.container_id, each.started_at) for each in snapshot.candidates if each.running
        }
        moved = {(each.container_id, each.started_at): key for key, each in taken.items()}
        self._ready = {key: known.get(key) or self._open(each) for key, each in taken.items()}
        self._resting = {}
        for key, replica in known.items():
            if key in self._ready:
                replica.candidate = taken[key]
            elif key[:2] in alive and key[:2] not in moved:
                self._resting[key] = replica
            else:
                replica.gone = True
                self._drop(replica)

    def pick(self, *, but: Replica | None = None) -> Replica | None:
        """The replica with the fewest calls under way; among equals, the one unused longest.

        A doubtful one only when there is no other.
        """
        able = [each for each in self._ready.values() if each is not but]
        if not able:
            return None
        chosen = min(able, key=_busyness)
        chosen.turn = next(self._turns)
        return chosen

    def stats(self) -> BackendStats:
        """All pools together."""
        every = [each.client.stats() for each in (*self._ready.values(), *self._resting.values())]
        return BackendStats(
            connections_in_use=sum(each.connections_in_use for each in every),
            connections_idle=sum(each.connections_idle for each in every),
            retries=self._retries_before + sum(each.retries for each in every),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        for replica in (*self._ready.values(), *self._resting.values()):
            self._drop(replica)
        self._ready, self._resting = {}, {}
        if self._closing:
            await asyncio.wait(self._closing)

    def _open(self, candidate: Candidate) -> Replica:
        url = candidate.url or ""  # taken, so it has one
        return Replica(candidate, url, self._open_client(RunnerAddress.parse(url)))

    def _drop(self, replica: Replica) -> None:
        self._retries_before += replica.client.stats().retries
        task = asyncio.create_task(replica.client.aclose(), name="docker-replica-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _busyness(replica: Replica) -> tuple[bool, int, int]:
    return (replica.doubtful, replica.client.stats().connections_in_use, replica.turn)


def _key(candidate: Candidate) -> Key:
    return (candidate.container_id, candidate.started_at, candidate.url or "")
