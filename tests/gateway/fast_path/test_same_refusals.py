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
UPLOAD = request("POST /api/ext/acme.crm/echo", body=b"hello")
CHUNKED = UPLOAD.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked").replace(
    b"hello", b"5\r\nhello\r\n0\r\n\r\n"
)
HEALTH = request("GET /healthz")
LAST = request("GET /api/ext/acme.crm/hello", "Connection: close")
BROKEN = b"\0broken\r\n\r\n"

SENT_AT_ONCE = {  # what, the answers, and how many calls are run
    "a call and what is broken": (CALL + BROKEN, [200, 400], 1),
    "a call and the beginning of what is broken": (CALL + BROKEN[:3], [200, 400], 1),
    "two requests and what is broken": (CALL + HEALTH + BROKEN, [200, 200, 400], 1),
    "an upload and what is broken": (UPLOAD + BROKEN, [200, 400], 1),
    "a chunked upload and what is broken": (CHUNKED + BROKEN, [200, 400], 1),
    "what is broken and a call": (BROKEN + CALL, [400], 0),
    "a call, what is broken, and another": (CALL + BROKEN + CALL, [200, 400], 1),
    "a call and a head that is too long": (
        CALL + request("GET /healthz", "X: " + "x" * 9000),
        [200, 431],
        1,
    ),
    "the last call and another": (LAST + CALL, [200], 1),
    "the last call and what is broken": (LAST + BROKEN, [200], 1),
    "a call, the last one, and another": (CALL + LAST + CALL, [200, 200], 2),
}
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


@pytest.mark.parametrize("case", SENT_AT_ONCE)
async def test_what_is_broken_takes_nothing_with_it_that_came_before(
    both: Both, runner: FakeRunner, case: str
) -> None:
    raw, statuses, runs = SENT_AT_ONCE[case]
    for gateway in both:
        before = len(runner.executed)
        told = await answered(gateway, raw)
        assert [each.status for each in told] == statuses
        assert len(runner.executed) - before == runs
