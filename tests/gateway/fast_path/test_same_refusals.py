"""What nobody can read is refused alike with the fast path and without it, and as soon."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.keys import FAST_PATH
from tests.fakes.runner import FakeRunner
from tests.gateway.fast_path.wire import Told, request, wire_to
from tests.gateway.harness import Gateway, in_front_of, running

Both = tuple[Gateway, Gateway]

CALL = request("GET /api/ext/acme.crm/hello")

UNREADABLE = {
    "bare line feeds": CALL.replace(b"\r\n", b"\n"),
    "a bare line feed in a head that goes on": b"GET /healthz HTTP/1.1\nHost: a",
    "a bare carriage return": b"GET /healthz HTTP/1.1\rHost: a",
    "TLS": bytes.fromhex("16030102000100") + b"\x01\xfc\x03\x03" + bytes(200),
    "no method": b"GARBAGE",
    "a method in lower case": b"get / HTTP/1.1\r\n",
    "a control character": b"GET / HTTP/1.1\r\nX: a\0b",
    "no field name": b"GET / HTTP/1.1\r\nHost: a\r\nno name\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    "another version": b"GET / HTTP/9.1\r\nHost: a",
}  # fmt: skip
UNFINISHED = {
    "a letter": b"P",
    "half a line": b"GET /api/ext/acme.crm",
    "a line": b"GET /api/ext/acme.crm/hello HTTP/1.1\r\n",
    "a field": CALL[:-2],
    "an empty line": b"\r\n",
}


@pytest.fixture
async def both(request: pytest.FixtureRequest, runner: FakeRunner) -> AsyncIterator[Both]:
    """A gateway with the fast path and one without it, in front of the same runner."""
    more: dict[str, str] = getattr(request, "param", {})
    async with AsyncExitStack() as stack:
        environ = in_front_of(runner, **more)
        fast, slow = [await stack.enter_async_context(running(environ)) for _ in range(2)]
        del slow.app._state[FAST_PATH]
        yield fast, slow


async def answered(gateway: Gateway, raw: bytes, *, after: bytes = b"") -> list[Told]:
    """All that is answered to `raw` on a connection of its own, which must end then.

    Args:
        after: sent before, and answered before.
    """
    told: list[Told] = []
    async with wire_to(gateway.port) as wire:
        if after:
            wire.send(after)
            assert (await wire.answer()).status == 200
        wire.send(raw)
        while not told or dict(told[-1].fields).get("connection") != "close":
            told.append(await wire.answer())
        assert await wire.reader.read() == b""
    return told


# A head may take fifteen seconds, and these tests are less patient.
@pytest.mark.parametrize("after", [b"", CALL], ids=["first", "later"])
@pytest.mark.parametrize("case", UNREADABLE)
async def test_what_can_be_no_head_is_not_waited_for(both: Both, case: str, after: bytes) -> None:
    fast, slow = [await answered(each, UNREADABLE[case], after=after) for each in both]
    assert [each.status for each in fast] == [400]
    assert fast == slow


@pytest.mark.parametrize("both", [{"GATEWAY_HEADER_TIMEOUT_MS": "50"}], indirect=True)
@pytest.mark.parametrize("case", UNFINISHED)
async def test_what_may_become_a_head_has_its_time(both: Both, case: str) -> None:
    fast, slow = [await answered(each, UNFINISHED[case]) for each in both]
    assert [each.status for each in fast] == [408]
    assert fast == slow
