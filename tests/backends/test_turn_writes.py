"""Small writes go out at the end of a turn, in their order, and none of them is lost."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop

from backends.turn_writes import MAX_HELD, MAX_HELD_BYTES, TurnTransport, writes_of

PATIENCE_S = 10.0
LARGE = b"b" * (MAX_HELD_BYTES + 1)


class Pair:
    """A transport, and the socket at its other end."""

    def __init__(self, transport: asyncio.Transport, peer: socket.socket) -> None:
        self.transport = TurnTransport(transport)
        self.beneath = transport
        self._peer = peer

    def came(self) -> bytes | None:
        """What the kernel holds for the peer now; None: nothing, b"": the end."""
        try:
            return self._peer.recv(1 << 20)
        except BlockingIOError:
            return None

    async def comes(self) -> bytes:
        """As `came`, but waits for something."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.get_running_loop().sock_recv(self._peer, 1 << 20)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    near, far = socket.socketpair()
    far.setblocking(False)
    with far:
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, sock=near
        )
        try:
            yield Pair(transport, far)
        finally:
            transport.abort()


async def test_what_one_turn_writes_goes_out_at_its_end() -> None:
    async with pair() as first, pair() as second:
        first.transport.write(b"a")
        second.transport.write(b"b")
        first.transport.write(b"c")
        assert (first.came(), second.came()) == (None, None)
        assert first.transport.get_write_buffer_size() == 2
        await asyncio.sleep(0)
        assert (first.came(), second.came()) == (b"ac", b"b")
        assert first.transport.get_write_buffer_size() == 0
        first.transport.write(b"d")
        await asyncio.sleep(0)
        assert first.came() == b"d"


async def test_a_large_write_goes_out_at_once_and_what_was_held_before_it() -> None:
    async with pair() as one:
        one.transport.write(b"a")
        one.transport.write(LARGE)
        assert one.came() == b"a" + LARGE
        one.transport.write(b"c")
        one.transport.writelines((b"d", b"e"))
        assert one.came() == b"cde"


async def test_many_small_writes_are_not_held_beyond_the_bound() -> None:
    async with pair() as one:
        for _ in range(5):
            one.transport.write(b"x" * (MAX_HELD_BYTES // 4))
        assert one.came() == b"x" * (MAX_HELD_BYTES // 4 * 5)


async def test_bytes_that_may_change_are_not_held() -> None:
    async with pair() as one:
        changing = bytearray(b"abc")
        one.transport.write(changing)
        changing[:] = b"xyz"
        await asyncio.sleep(0)
        assert one.came() == b"abc"


async def test_no_more_connections_wait_than_the_bound_says() -> None:
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(pair()) for _ in range(MAX_HELD + 1)]
        for each in pairs:
            each.transport.write(b"a")
        assert [each.came() for each in pairs] == [b"a"] * MAX_HELD + [None]
        await asyncio.sleep(0)
        assert pairs[-1].came() == b"a"


async def test_whoever_keeps_the_loop_from_turning_can_let_them_go_before() -> None:
    async with pair() as one:
        one.transport.write(b"a")
        writes_of(asyncio.get_running_loop()).flush()
        assert one.came() == b"a"
        await asyncio.sleep(0)
        assert one.came() is None


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_an_end_comes_after_what_was_written(end: str) -> None:
    async with pair() as one:
        one.transport.write(b"a")
        getattr(one.transport, end)()
        assert (await one.comes(), await one.comes()) == (b"a", b"")


async def test_an_abort_drops_what_was_held() -> None:
    async with pair() as one:
        one.transport.write(b"a")
        one.transport.abort()
        assert await one.comes() == b""


async def test_a_connection_that_went_away_meanwhile_harms_no_other() -> None:
    async with pair() as first, pair() as second:
        first.transport.write(b"a")
        second.transport.write(b"b")
        first.beneath.abort()
        await asyncio.sleep(0)
        first.transport.write(b"c")
        first.transport.writelines((b"d",))
        await asyncio.sleep(0)
        assert second.came() == b"b"


class Pausable(asyncio.Protocol):
    """Notes whether it may write."""

    def __init__(self) -> None:
        self.paused = False

    def pause_writing(self) -> None:
        self.paused = True


@pytest.mark.parametrize("way", ["write", "writelines"])
@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_who_writes_more_than_is_taken_is_told_and_all_of_it_arrives(
    way: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    much = os.urandom(1 << 20) * 8

    async def write() -> bytes:
        near, far = socket.socketpair()
        far.setblocking(False)
        protocol = Pausable()
        loop = asyncio.get_running_loop()
        with far:
            beneath, _ = await loop.create_connection(lambda: protocol, sock=near)
            transport = TurnTransport(beneath)
            transport.write(b"first")
            if way == "write":
                transport.write(b"head")
                transport.write(much)
            else:
                transport.writelines((b"head", memoryview(much)))
            assert protocol.paused
            transport.close()
            got = bytearray()
            async with asyncio.timeout(PATIENCE_S):
                while part := await loop.sock_recv(far, 1 << 20):
                    got += part
            return bytes(got)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(write()) == b"firsthead" + much
