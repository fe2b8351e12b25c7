"""`python -m benchmarks.latency`: how long requests wait at half of saturation, and in a swap.

At half of what saturates the gateway it is compared with other proxies, asked at the same rate
by h2load. Swaps are watched by a load of our own that is open: requests are due at fixed times,
whether or not earlier ones were answered, and each is timed from when it was due. A server that
stops for a while cannot hide it by being asked less, and every answer is looked at; but it is
written in Python, and whoever shares its core waits for it.

Servers on one core, load and two runners on another; figures are of this machine.
"""

import asyncio
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

import click
import uvloop

from benchmarks.check import check, open_page
from benchmarks.gateway import BUNDLES, PASSING, gateway_launch
from benchmarks.load import burst, write_script
from benchmarks.paced import Waits, paced
from benchmarks.peers import PEERS, Place
from benchmarks.runner import runner_launch
from benchmarks.servers import Launch, Server, free_port, started
from benchmarks.site import Site, build_site
from benchmarks.tools import CACHE, Tools
from benchmarks.workloads import Exchange, Work, all_work

CONNECTIONS: Final = 32
SWAPS: Final = 5
ROUNDS: Final = 5
_SERVER_CPU: Final = 0
_LOAD_CPU: Final = 1
_BETWEEN_SWAPS_S: Final = 1.0
_DEADLINE_S: Final = 60.0
_HEAD_END: Final = b"\r\n\r\n"


class Asker(asyncio.Protocol):
    """One keep-alive connection that asks one question at a time, the oldest due one first."""

    def __init__(self, raw: bytes, answer_bytes: int, due: deque[float]) -> None:
        self._raw = raw
        self._answer_bytes = answer_bytes
        self._due = due
        self._asked_for: float | None = None  # when the request that is out was due
        self._came = 0
        self._head_bytes = 0
        self.took: list[float] = []
        self.wrong = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no common parent

    def connection_lost(self, exc: Exception | None) -> None:
        self.wrong += self._asked_for is not None
        self._asked_for, self._transport = None, None

    @property
    def is_busy(self) -> bool:
        return self._asked_for is not None

    @property
    def is_free(self) -> bool:
        return self._asked_for is None and self._transport is not None

    def ask(self) -> None:
        """Send the request that has been due for longest."""
        assert self._transport is not None
        self._asked_for = self._due.popleft()
        self._came = self._head_bytes = 0
        self._transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        if not self._came and not data.startswith(b"HTTP/1.1 200"):
            self.wrong += 1
        self._came += len(data)
        if not self._head_bytes and _HEAD_END in data:
            self._head_bytes = data.index(_HEAD_END) + len(_HEAD_END)
        if self._came < self._head_bytes + self._answer_bytes or self._asked_for is None:
            return
        self.took.append(time.perf_counter() - self._asked_for)
        self._asked_for = None
        if self._due:
            self.ask()


async def open_load(
    port: int, raw: bytes, answer_bytes: int, *, rate: float, seconds: float
) -> tuple[list[float], int]:
    """Ask `rate` times a second.

    Returns:
        Milliseconds that each answer took, and how many answers were wrong or missing.
    """
    loop = asyncio.get_running_loop()
    due: deque[float] = deque()
    askers = []
    for _ in range(CONNECTIONS):
        _, asker = await loop.create_connection(
            lambda: Asker(raw, answer_bytes, due), "127.0.0.1", port
        )
        askers.append(asker)
    began, planned, total = time.perf_counter(), 0, int(rate * seconds)
    async with asyncio.timeout(seconds + _DEADLINE_S):
        while planned < total:
            now = time.perf_counter()
            while planned < total and began + planned / rate <= now:
                due.append(began + planned / rate)
                planned += 1
            for asker in askers:
                if due and asker.is_free:
                    asker.ask()
            await asyncio.sleep(0.0005)
        while any(asker.is_busy for asker in askers):  # noqa: ASYNC110 - at the end only
            await asyncio.sleep(0.01)
    took = [each * 1000 for asker in askers for each in asker.took]
    return took, sum(asker.wrong for asker in askers) + total - len(took)


def _runners(tools: Tools, site: Site, folder: Path, stack: ExitStack) -> list[int]:
    ports = []
    for name in ("first", "second"):
        port = free_port()
        launch = runner_launch(tools, site, folder=folder / name, port=port)
        stack.enter_context(started(name, launch, port=port, cpu=_LOAD_CPU, folder=folder / name))
        ports.append(port)
    return ports


def _point_to(folder: Path, port: int) -> None:
    (folder / ".env").write_text(f"RUNNER_BASE_URL=http://127.0.0.1:{port}\n")


def _gateway(folder: Path, runner: int, key: str, stack: ExitStack) -> Server:
    port = free_port()
    launch = gateway_launch(PASSING, folder=folder, port=port, runner_url="", key=key)
    environ = {name: value for name, value in launch.environ.items() if name != "RUNNER_BASE_URL"}
    folder.mkdir()
    _point_to(folder, runner)
    return stack.enter_context(
        started(
            "gateway", Launch(launch.command, environ), port=port, cpu=_SERVER_CPU, folder=folder
        )
    )


def _proxies(
    names: str, tools: Tools, site: Site, folder: Path, runner: int, key: str, stack: ExitStack
) -> list[Server]:
    """The other proxies of these names, as far as they are there."""
    found = []
    for peer in PEERS:
        if peer.kind != "proxy" or peer.name not in names.split(","):
            continue
        if (why := peer.missing(tools)) is not None:
            click.echo(f"without {peer.name}: {why}")
            continue
        place = Place(folder / peer.name, free_port(), runner, tools, site, key)
        found.append(stack.enter_context(peer.started(place, cpu=_SERVER_CPU)))
    return found


def _compare(
    tools: Tools, work: Work, servers: Sequence[Server], rate: float, seconds: int, folder: Path
) -> None:
    """Ask each of them at the same rate, in turn, and print the medians."""
    h2load = tools.require("h2load")
    waits: dict[str, list[Waits]] = {}
    for _ in range(ROUNDS):
        for server in servers:
            exchange = work.exchanges["gateway" if server.name == "gateway" else "proxy"]
            waits.setdefault(server.name, []).append(
                paced(
                    h2load, server.url, exchange, rate=rate, seconds=seconds, cpu=_LOAD_CPU,
                    environ=tools.environ_of(h2load), log=folder / "paced.log",
                )
            )  # fmt: skip
    click.echo(f"  at {rate:.0f} a second; medians of {ROUNDS} rounds; p99 over p50: median, range")
    for name, rounds in waits.items():
        middle, spreads = Waits.median(rounds), sorted(each.spread for each in rounds)
        click.echo(
            f"  {name:42} p50 {middle.p50_ms:6.2f} ms, p99 {middle.p99_ms:6.2f} ms"
            f" ({spreads[len(spreads) // 2]:4.1f} x, {spreads[0]:.1f} to {spreads[-1]:.1f}),"
            f" slowest {middle.slowest_ms:6.2f} ms"
        )


async def _swapping(server: Server, folder: Path, runners: Sequence[int]) -> None:
    for number in range(SWAPS):
        await asyncio.sleep(_BETWEEN_SWAPS_S)
        _point_to(folder, runners[(number + 1) % 2])
        os.kill(server.pid, signal.SIGHUP)
    await asyncio.sleep(_BETWEEN_SWAPS_S)


async def _measure(
    server: Server,
    folder: Path,
    runners: Sequence[int],
    exchanges: Mapping[str, Exchange],
    saturated: float,
) -> None:
    seconds = _BETWEEN_SWAPS_S * (SWAPS + 1)

    async def take(says: str, port: int, exchange: Exchange, rate: float) -> None:
        took, wrong = await open_load(
            port, exchange.raw(), len(exchange.answer), rate=rate, seconds=seconds
        )
        waits = Waits.of(took)
        click.echo(
            f"  {says:42} p50 {waits.p50_ms:6.2f} ms, p99 {waits.p99_ms:6.2f} ms"
            f" ({waits.spread:4.1f} x), slowest {waits.slowest_ms:6.2f} ms,"
            f" {len(took)} answers, {wrong} wrong"
        )

    half, most = saturated * 0.5, saturated * 0.9
    await take("half of it, straight to the runner", runners[0], exchanges["proxy"], half)
    await take("half of it", server.port, exchanges["gateway"], half)
    for says, rate in ((f"half of it, {SWAPS} swaps", half), (f"nine tenths, {SWAPS} swaps", most)):
        await asyncio.gather(
            take(says, server.port, exchanges["gateway"], rate), _swapping(server, folder, runners)
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default="W1h,EXT", show_default=True, help="Which work to ask for.")
@click.option("--peers", default="nginx,envoy,caddy", show_default=True, help="Whom to compare.")
@click.option("--install", is_flag=True, help="Fetch the programs that are missing.")
@click.option("--seconds", type=click.IntRange(1, 60), default=3, show_default=True)
def main(*, only: str, peers: str, install: bool, seconds: int) -> None:
    """Answer times at a fixed rate, with and without swaps (Linux, two cores)."""
    tools = Tools(CACHE)
    if install:
        tools.install()
    key = secrets.token_urlsafe(24)
    with TemporaryDirectory(prefix="gateway-latency-") as name, ExitStack() as stack:
        folder = Path(name)
        site = build_site(folder / BUNDLES)
        runners = _runners(tools, site, folder, stack)
        server = _gateway(folder / "gateway", runners[0], key, stack)
        open_page(server, site, key)
        others = _proxies(peers, tools, site, folder, runners[0], key, stack)
        os.sched_setaffinity(0, {_LOAD_CPU})
        for work in all_work(site, key):
            if work.name not in only.split(","):
                continue
            exchange = work.exchanges["gateway"]
            check(server, exchange)
            script = folder / f"{work.name}.lua"
            write_script(exchange, script)
            wrk = tools.require("wrk")
            counted = burst(
                wrk, server.url, exchange, script=script, connections=CONNECTIONS,
                cpu=_LOAD_CPU, seconds=seconds, environ=tools.environ_of(wrk),
            )  # fmt: skip
            saturated = counted.requests / counted.seconds
            click.echo(f"{work.name}: {work.says}; saturated at {saturated:.0f} requests a second")
            _compare(tools, work, (server, *others), saturated / 2, seconds, folder)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_measure(server, folder / "gateway", runners, work.exchanges, saturated))
            server.require_alive()


if __name__ == "__main__":
    main()
