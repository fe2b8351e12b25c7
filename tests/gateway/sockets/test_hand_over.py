"""Whoever is stopped while it hands over leaves no successor behind that nobody knows of."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping

import pytest

from gateway.sockets import hand_over
from gateway.sockets.hand_over import HandOver, Successor
from gateway.sockets.listeners import Sockets
from gateway.sockets.notify import READY, notify

SLEEPING = [sys.executable, "-c", "import signal; signal.pause()"]


async def test_a_successor_that_was_let_go_can_still_be_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", SLEEPING)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        successor = Successor([listener], {})
        assert successor.pid()
        successor.let_go()
        assert successor.status == -signal.SIGKILL  # its parent's, which it has outlived
        successor.kill()
    async with asyncio.timeout(30):  # who has the socket is gone when nobody can connect any more
        while True:
            try:
                _, writer = await asyncio.open_connection(*address)
            except ConnectionRefusedError:
                break
            writer.close()
            await asyncio.sleep(0.01)


def test_a_successor_that_nobody_knows_of_does_not_stay() -> None:
    # Whoever asked for it was killed at once: before it was told which process it is.
    reading, writing = os.pipe()
    os.close(reading)
    detachable = subprocess.run(
        [sys.executable, "-m", "gateway.detachable", str(writing), *SLEEPING],
        pass_fds=[writing],
        capture_output=True,
        timeout=60,
    )
    os.close(writing)
    assert (detachable.returncode, detachable.stderr) == (128 + signal.SIGKILL, b"")


class ReadySuccessor:
    """Serves at once; it takes its time to be let go."""

    status = None

    def __init__(self, _sockets: Sockets, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.is_being_let_go, self.is_killed = threading.Event(), threading.Event()
        made.append(self)

    def pid(self) -> int:
        notify(self._environ, READY)
        return 1

    def let_go(self) -> None:
        self.is_being_let_go.set()
        self.is_killed.wait(30)

    def kill(self) -> None:
        self.is_killed.set()


made: list[ReadySuccessor] = []


async def test_a_stop_in_the_last_moment_of_a_hand_over_ends_the_successor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hand_over, "Successor", ReadySuccessor)
    has_succeeded, stop = asyncio.Event(), asyncio.Event()
    one = HandOver(lambda: (), {}, has_succeeded.set, stop)
    one.asked()
    async with asyncio.timeout(30):
        while not (made and made[-1].is_being_let_go.is_set()):  # noqa: ASYNC110  set in a thread
            await asyncio.sleep(0.001)
    stop.set()
    one.stopping()
    assert await asyncio.to_thread(made[-1].is_killed.wait, 30)
    assert not has_succeeded.is_set()
