"""Names are looked up without libuv's threads: by few of ours, which nobody waits for."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from gateway.process.event_loop import EventLoop

EVERYBODY = """
import asyncio, os, socket
from yarl import URL
from backends.docker_engine.address import EngineAddress
from backends.docker_engine.client import Engine, EngineError
from backends.embedded.host.egress import EgressClient, EgressFailed, EgressPolicy, EgressRequest
from backends.embedded.host.internal_client import ExchangeFailed, InternalClient
from gateway.callers.jwt_key_fetching import KeysNotFetched, fetch_keys
from gateway.installs.contract import RegistryUnavailable
from gateway.installs.http import RegistryInstalls
from gateway.process.event_loop import EventLoop

async def engine(url):
    engine = Engine(EngineAddress(url=url, why="DOCKER_HOST"))
    try:
        await engine.containers(())
    except EngineError as error:
        assert error.reason == "engine_unreachable", error
    else:
        raise AssertionError
    await engine.aclose()

async def registry(url):
    installs = RegistryInstalls(url, token="t")
    try:
        await installs.resolve("tenant", "extension")
    except RegistryUnavailable as error:
        assert error.reason == "connect_failed", error.reason
    else:
        raise AssertionError
    await installs.aclose()

async def keys(url):
    try:
        await fetch_keys(url)
    except KeysNotFetched as error:
        assert error.reason == "unreachable", error
    else:
        raise AssertionError

async def egress(url):
    client = EgressClient(EgressPolicy(("127.0.0.1", "localhost"), lambda _: True))
    try:
        await client.send(EgressRequest(method="GET", url=URL(url)))
    except EgressFailed as error:
        assert isinstance(error.__cause__.os_error, ConnectionRefusedError), error.__cause__
    else:
        raise AssertionError
    await client.aclose()

async def host_application(url):
    client = InternalClient()
    try:
        await client.exchange("GET", URL(url), headers={}, body=None, max_bytes=1)
    except ExchangeFailed as error:
        assert isinstance(error.__cause__.os_error, ConnectionRefusedError), error.__cause__
    else:
        raise AssertionError
    await client.aclose()

async def main():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        for ask in (engine, registry, keys, egress, host_application):
            await ask(f"http://{host}:{port}")
            async with asyncio.timeout(10):  # ours end, and libuv's never do
                while len(os.listdir("/proc/self/task")) > 1:
                    await asyncio.sleep(0.01)

with asyncio.Runner(loop_factory=EventLoop) as runner:
    runner.run(main())
"""

LISTENER = ("127.0.0.1", 80)
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", LISTENER)]


class NameServer:
    """Answers when it may; names under failing.test do not exist, and it knows no others."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()

    def look_up(self, host: str, *others: Any) -> list[Any]:
        if others[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self.asked.append(host)
        if host.startswith("slow"):
            self.may_answer.wait()
        if host.endswith("failing.test"):
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return FOUND


def within_20_s(story: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    return asyncio.wait_for(story, 20)  # else a lookup that hangs is the test's own


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    # No name server of this machine can be silenced.
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.look_up)
    yield server
    server.may_answer.set()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        yield runner


async def look_up(host: str) -> object:
    return await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)


async def until_asked(names: NameServer, host: str) -> None:
    while host not in names.asked:  # noqa: ASYNC110  a thread asks
        await asyncio.sleep(0.001)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_nobody_who_connects_starts_a_thread_of_libuv() -> None:
    subprocess.run([sys.executable, "-c", EVERYBODY], check=True, timeout=60)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", b"127.0.0.2", None])
def test_an_address_is_found_on_the_spot(runner: asyncio.Runner, host: str | bytes | None) -> None:
    async def find() -> None:
        finding = asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)
        with pytest.raises(StopIteration) as found:
            finding.send(None)
        assert found.value.value == socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)

    runner.run(find())


def test_an_address_has_a_name(runner: asyncio.Runner) -> None:
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    named = runner.get_loop().getnameinfo(LISTENER, numeric)
    assert runner.run(named) == ("127.0.0.1", "80")


def test_one_lookup_serves_all_and_outlives_those_who_give_up(
    runner: asyncio.Runner, names: NameServer
) -> None:
    async def ask() -> None:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await look_up("slow.test")
        asking = [asyncio.create_task(look_up("slow.test")) for _ in range(20)]
        await until_asked(names, "slow.test")
        assert await look_up("quick.test") == FOUND
        names.may_answer.set()
        assert await asyncio.gather(*asking) == [FOUND] * 20
        assert names.asked == ["slow.test", "quick.test"]

    runner.run(within_20_s(ask()))


def test_a_failure_is_told_to_all_and_not_remembered(
    runner: asyncio.Runner, names: NameServer
) -> None:
    async def ask() -> None:
        for number in (1, 2):
            asking = [look_up("failing.test") for _ in range(5)]
            for failure in await asyncio.gather(*asking, return_exceptions=True):
                assert isinstance(failure, socket.gaierror)
            assert len(names.asked) == number

    runner.run(within_20_s(ask()))


def test_a_failure_that_nobody_waits_for_is_no_complaint(
    runner: asyncio.Runner, names: NameServer
) -> None:
    complaints: list[object] = []

    async def give_up() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, why: complaints.append(why))
        asking = asyncio.create_task(look_up("slow.failing.test"))
        await until_asked(names, "slow.failing.test")
        asking.cancel()
        await asyncio.wait([asking])
        (lookup,) = (task for task in asyncio.all_tasks() if task.get_name() == "lookup")
        names.may_answer.set()
        await asyncio.wait([lookup])

    runner.run(within_20_s(give_up()))
    assert complaints == []


def test_a_lookup_does_not_hold_up_the_end(names: NameServer) -> None:
    async def give_up() -> None:
        asking = asyncio.create_task(look_up("slow.test"))
        await until_asked(names, "slow.test")
        asking.cancel()

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(within_20_s(give_up()))
    assert not names.may_answer.is_set()
