"""A connection to an address takes no thread, on either loop."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
import uvloop

from backends.upstream.socket_connect import CONNECTS

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}

DIALLED = """
import asyncio, os, socket, uvloop
from backends.upstream.address import RunnerAddress
from backends.upstream.http1_dial import Dialler

async def dial():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialler = Dialler(RunnerAddress.parse(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        await dialler.dial(asyncio.Protocol)
        assert len(os.listdir("/proc/self/task")) == 1

uvloop.run(dial())
"""


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner


@pytest.fixture
def unblocked() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.setblocking(False)
        yield sock


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_dial_of_an_address_starts_no_thread() -> None:
    subprocess.run([sys.executable, "-c", DIALLED], check=True, timeout=60)


def test_it_connects(runner: asyncio.Runner, unblocked: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner.run(CONNECTS.sock_connect(unblocked, listener.getsockname()))
        assert unblocked.getpeername() == listener.getsockname()


def test_a_refusal_is_told(runner: asyncio.Runner, unblocked: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        runner.run(CONNECTS.sock_connect(unblocked, address))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a peer that leaves a connect unanswered")
def test_one_that_is_given_up_is_watched_no_longer(
    runner: asyncio.Runner, unblocked: socket.socket
) -> None:
    async def give_up(address: tuple[str, int]) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await CONNECTS.sock_connect(unblocked, address)
        assert not asyncio.get_running_loop().remove_writer(unblocked)

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        for _ in range(3):  # more than can wait there
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        runner.run(give_up(listener.getsockname()))
