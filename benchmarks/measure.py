"""Starts everything, checks every answer, and takes turns: one measurement from end to end."""

import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.check import WrongAnswer, check, open_page
from benchmarks.figures import Figures, Sample, figures
from benchmarks.footprint import idle_connection_kib, start_s
from benchmarks.gateway import BUNDLES
from benchmarks.load import LoadFailed, burst, write_script
from benchmarks.peers import PEERS, Peer, Place
from benchmarks.processes import cpu_s, resident_kib
from benchmarks.runner import runner_launch
from benchmarks.servers import NotStarted, Server, free_port, started
from benchmarks.site import Site, build_site
from benchmarks.tools import Tools
from benchmarks.workloads import Exchange, Work, all_work

GATEWAY: Final = "gateway"
_WARM_UP_S: Final = 1
_STARTS: Final = 3


@dataclass(frozen=True)
class Plan:
    """How much to measure, and where.

    Attributes:
        only, peers: names of work and of servers; empty means all.
        server_cpu, load_cpu: the core of every measured server, and that of the load and of
            the runner behind them.
    """

    only: frozenset[str] = frozenset()
    peers: frozenset[str] = frozenset()
    rounds: int = 3
    seconds: int = 2
    server_cpu: int = 0
    load_cpu: int = 1


@dataclass
class Results:
    """What came out. `skipped` says why something is not in it."""

    works: Sequence[Work] = ()
    costs: dict[str, dict[str, Figures]] = field(default_factory=dict)
    footprint: dict[str, float] = field(default_factory=dict)
    resident_mib: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def measure(plan: Plan, tools: Tools, say: Callable[[str], None]) -> Results:
    """Do all of it. Blocks for minutes.

    Raises:
        FileNotFoundError: nginx or wrk is missing.
        NotStarted: the runner or the gateway would not start.
        Ended: any server did not last until the end: then no figure can be trusted.
        WrongAnswer: the gateway's answers are wrong. Other servers are then left out.
    """
    with TemporaryDirectory(prefix="gateway-bench-") as name, ExitStack() as running:
        return _Measurement(plan, tools, say, Path(name), running).run()


class _Measurement:
    def __init__(
        self, plan: Plan, tools: Tools, say: Callable[[str], None], folder: Path, stack: ExitStack
    ) -> None:
        self._plan = plan
        self._tools = tools
        self._say = say
        self._folder = folder
        self._stack = stack
        self._wrk = tools.require("wrk")
        self._key = secrets.token_urlsafe(24)
        self._site: Site = build_site(folder / BUNDLES)
        self._runner_port = free_port()
        self._results = Results()

    def run(self) -> Results:
        plan, results = self._plan, self._results
        wanted = all_work(self._site, self._key)
        works = [work for work in wanted if not plan.only or work.name in plan.only]
        kinds = {kind for work in works for kind in work.exchanges}
        self._start_runner()
        peers = [
            peer
            for peer in PEERS
            if peer.kind in kinds and (not plan.peers or peer.name in {GATEWAY, *plan.peers})
        ]
        if any(peer.name == GATEWAY for peer in peers):
            self._footprint()
        servers = dict(self._started(peers))
        results.works = works
        turns = [turn for work in works for turn in self._checked(work, servers)]
        samples: dict[tuple[str, str], list[Sample]] = {}
        for number in range(plan.rounds + 1):
            self._say(f"round {number} of {plan.rounds}" if number else "warming up")
            for work, peer, server in turns:
                sample = self._sample(work, peer, server, plan.seconds if number else _WARM_UP_S)
                if number and sample is not None:
                    samples.setdefault((work.name, peer.name), []).append(sample)
        for (work_name, peer_name), taken in samples.items():
            results.costs.setdefault(work_name, {})[peer_name] = figures(taken)
        for peer, server in servers.items():
            server.require_alive()
            results.resident_mib[peer.name] = resident_kib(server.pid) / 1024
        if GATEWAY in results.resident_mib:
            amount = results.resident_mib[GATEWAY]
            results.footprint["resident memory after all of it"] = amount
        return results

    def _start_runner(self) -> None:
        folder = self._folder / "runner"
        launch = runner_launch(self._tools, self._site, folder=folder, port=self._runner_port)
        self._stack.enter_context(
            started(
                "runner", launch, port=self._runner_port, cpu=self._plan.load_cpu, folder=folder
            )
        )

    def _footprint(self) -> None:
        """What does not depend on load, of gateways that nobody has used yet."""
        self._say("starting and stopping")
        gateway = next(peer for peer in PEERS if peer.name == GATEWAY)
        page = self._site.files["small.js"]
        self._results.footprint["start to first answer"] = start_s(
            lambda: self._server(gateway), page.target, times=_STARTS
        )
        with self._server(gateway) as server:
            self._results.footprint["memory of an idle connection"] = idle_connection_kib(
                server, page.target
            )

    def _started(self, peers: Sequence[Peer]) -> Iterator[tuple[Peer, Server]]:
        for peer in peers:
            if missing := peer.missing(self._tools):
                self._skip(peer.name, missing)
                continue
            try:
                server = self._stack.enter_context(self._server(peer))
            except NotStarted as why:
                if peer.name == GATEWAY:
                    raise
                self._skip(peer.name, str(why))
            else:
                if peer.name.startswith(GATEWAY):
                    open_page(server, self._site, self._key)
                yield peer, server

    def _server(self, peer: Peer) -> AbstractContextManager[Server]:
        place = Place(
            self._folder / peer.name, free_port(), self._runner_port, self._tools, self._site,
            self._key,
        )  # fmt: skip
        return peer.started(place, cpu=self._plan.server_cpu)

    def _checked(
        self, work: Work, servers: Mapping[Peer, Server]
    ) -> Iterator[tuple[Work, Peer, Server]]:
        for peer, server in servers.items():
            exchange = work.exchanges.get(peer.kind)
            if exchange is None:
                continue
            try:
                check(server, exchange)
            except (WrongAnswer, OSError) as why:
                if peer.name == GATEWAY:
                    raise
                self._skip(f"{work.name} on {peer.name}", str(why))
                continue
            write_script(exchange, self._script(work, peer))
            yield work, peer, server

    def _sample(self, work: Work, peer: Peer, server: Server, seconds: int) -> Sample | None:
        exchange: Exchange = work.exchanges[peer.kind]
        server.require_alive()
        before = cpu_s(server.pid)
        try:
            counted = burst(
                self._wrk,
                server.url,
                exchange,
                script=self._script(work, peer),
                connections=work.connections,
                cpu=self._plan.load_cpu,
                seconds=seconds,
                environ=self._tools.environ_of(self._wrk),
            )
        except (LoadFailed, subprocess.TimeoutExpired) as why:
            self._skip(f"a round of {work.name} on {peer.name}", str(why))
            return None
        used = cpu_s(server.pid) - before
        server.require_alive()  # else the time that it used is not in `used`
        return Sample(
            cpu_us=used / counted.requests * 1e6,
            requests_per_s=counted.requests / counted.seconds,
            p50_ms=counted.p50_ms,
            p99_ms=counted.p99_ms,
        )

    def _script(self, work: Work, peer: Peer) -> Path:
        return self._folder / f"{work.name}-{peer.kind}.lua"

    def _skip(self, what: str, why: str) -> None:
        # The reports are published, and folders are nobody's business.
        for folder, shown in ((self._folder, "."), (self._tools.folder, "TOOLS")):
            why = why.replace(str(folder), shown)
        self._results.skipped[what] = why
        self._say(f"without {what}: {why}")
