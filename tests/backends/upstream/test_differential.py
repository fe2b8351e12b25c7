"""Both transports read the same bytes alike: the same answer, or the same fault.

Hypothesis writes the answers, well-formed and broken, and says where the wire cuts them. The
transport on aiohttp's session is the reference, because its parsing was tried by many others.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backends.errors import BackendError
from backends.upstream.address import RunnerAddress
from tests.backends.upstream.conftest import KINDS
from tests.backends.upstream.exchanges import Answer, ask
from tests.fakes.raw_runner import RawRunner, Step, Wire, chunked, head, response

CONFIG = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True, slots=True)
class Script:
    """What a runner writes in answer to one request, and where the writes end."""

    method: str
    wire: bytes
    cuts: tuple[int, ...] = ()
    closes: bool = True

    def pieces(self) -> Sequence[bytes]:
        ends = sorted({*self.cuts, len(self.wire)})
        starts = [0, *ends]
        return [self.wire[start:end] for start, end in zip(starts, ends, strict=False)]


def dribble(script: Script) -> Step:
    async def step(wire: Wire) -> None:
        for piece in script.pieces():
            await wire.send(piece)
            for _ in range(3):  # the peer reads this piece alone, as a rule
                await asyncio.sleep(0)
        if script.closes:
            wire.close()

    return step


Outcome = Answer | tuple[str, str, str]


async def outcome_of(kind: str, script: Script) -> Outcome:
    async with RawRunner(dribble(script)) as runner:
        transport = KINDS[kind](RunnerAddress.parse(runner.url))
        try:
            return await ask(transport, method=script.method)
        except BackendError as failure:
            return type(failure).__name__, failure.reason, failure.phase
        finally:
            await transport.aclose()


async def assert_alike(script: Script) -> Outcome:
    ours, reference = [await outcome_of(kind, script) for kind in ("http1", "session")]
    assert ours == reference
    return ours


tokens = st.sampled_from(["ETag", "x-ext-a", "Vary", "Content-Type", "X_Odd.Name~1"])
values = st.sampled_from(
    ["", "a", "a, b", ' "quoted" ', "\tpadded\t", "caf\u00e9", "\u00ff\u00fe", "x" * 100]
)
fields = st.lists(st.tuples(tokens, values), max_size=4)
statuses = st.sampled_from(
    ["200 OK", "206 Partial", "204 No Content", "304 Not Modified", "404 ", "503 A B", "299"]
)
bodies = st.binary(max_size=40) | st.just(b"z" * 300)
interims = st.lists(
    st.sampled_from([head("100 Continue"), head("103 Early Hints", [("Link", "</a>")])]),
    max_size=2,
).map(b"".join)
methods = st.sampled_from(["GET", "HEAD", "POST"])
cuts = st.lists(st.integers(0, 400), max_size=5).map(tuple)


@st.composite
def chunkings(draw: st.DrawFn, body: bytes) -> bytes:
    """A chunked body in one of its many spellings."""
    edges = sorted({0, *draw(st.lists(st.integers(0, len(body)), max_size=4)), len(body)})
    size = draw(st.sampled_from([b"%x", b"%X", b"000%x"]))
    extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b;c"']))
    coded = b""
    for start, end in itertools.pairwise(edges):
        coded += size % (end - start) + extension + b"\r\n" + body[start:end] + b"\r\n"
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"ETag: t\r\nA: b\r\n"]))
    return coded + b"0" + extension + b"\r\n" + trailer + b"\r\n"


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Well-formed answers in every framing."""
    body = draw(bodies)
    own = draw(fields)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    method = draw(methods)
    status = draw(statuses)
    if framing == "length":
        own.append(("Content-Length", str(len(body))))
    elif framing == "chunked":
        own.append(("Transfer-Encoding", draw(st.sampled_from(["chunked", "Chunked"]))))
        body = draw(chunkings(body))
    if draw(st.booleans()):
        own.append(("Connection", draw(st.sampled_from(["close", "keep-alive"]))))
    if method == "HEAD" or status.startswith(("204", "304")):
        body = b""
    wire = draw(interims) + head(status, own) + body
    return Script(method, wire, draw(cuts), closes=framing == "close" or draw(st.booleans()))


@CONFIG
@given(scripts())
async def test_well_formed_answers_are_read_alike(script: Script) -> None:
    assert isinstance(await assert_alike(script), Answer)


@CONFIG
@given(scripts(), st.integers(0, 500))
@example(Script("GET", head("100 Continue")), 99)
@example(Script("GET", head("100 Continue") + b"HTTP"), 99)
async def test_answers_that_break_off_are_told_alike(script: Script, left: int) -> None:
    await assert_alike(Script(script.method, script.wire[:left], script.cuts))


BROKEN = [
    (b"HTTP/1.1", b"HTTP/3.7"),
    (b"HTTP/1.1", b"http/1.1"),
    (b"HTTP/1.1 ", b"HTTP/1.1"),
    (b"\r\nContent-Length: ", b"\r\nContent-Length: 1, "),
    (b"\r\nContent-Length: ", b"\r\nContent-Length: +"),
    (b"\r\nContent-Length: ", b"\r\nContent-Length: 5\r\nContent-Length: "),
    (b"\r\nContent-Length: ", b"\r\nTransfer-Encoding: chunked\r\nContent-Length: "),
    (b"\r\nTransfer-Encoding: ", b"\r\nTransfer-Encoding: gzip, "),
    (b"\r\nTransfer-Encoding: ", b"\r\nTransfer-Encoding: x"),
    (b"\r\n\r\n", b"\r\nA b: c\r\n\r\n"),
    (b"\r\n\r\n", b"\r\n: c\r\n\r\n"),
    (b"\r\n\r\n", b"\r\nA\0: c\r\n\r\n"),
    (b"\r\n\r\n", b"\r\nA: b\0c\r\n\r\n"),
    (b"\r\n\r\n", b"\r\nnothing\r\n\r\n"),
    (b"0\r\n\r\n", b"0\r\n"),
    (b"200", b"2x0"),
    (b"200", b"101"),
    (b"200", b"99"),
    (b"200", b"1000"),
]
BEHIND_THE_HEAD = [b"-1\r\n", b"fffffffffffffffff\r\n", b";\r\n", b"\0"]


@CONFIG
@given(scripts(), st.sampled_from(BROKEN))
async def test_broken_answers_are_told_alike(script: Script, damage: tuple[bytes, bytes]) -> None:
    await assert_alike(Script(script.method, script.wire.replace(*damage, 1), script.cuts))


@CONFIG
@given(scripts(), st.sampled_from(BEHIND_THE_HEAD))
async def test_junk_behind_the_head_is_told_alike(script: Script, junk: bytes) -> None:
    # Uncut: behind a whole answer that was read alone, junk belongs to nobody.
    top, end, rest = script.wire.partition(b"\r\n\r\n")
    await assert_alike(Script(script.method, top + end + junk + rest))


CANONICAL = {
    "length": response(b"whole", fields=[("ETag", '"1"')]),
    "chunked": chunked(b"wh", b"ole"),
    "close": head("200 OK", [("A", "b")]) + b"whole",
    "interim": head("100 Continue") + response(b"whole"),
    "empty": response(),
    "not-modified": head("304 Not Modified", [("Content-Length", "2048"), ("ETag", '"1"')]),
    "refused-coding": head("200 OK", [("Transfer-Encoding", "gzip, chunked")]),
    "no-http": b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n",
}


@pytest.mark.parametrize("name", CANONICAL)
async def test_no_cut_of_the_wire_changes_what_is_read(name: str) -> None:
    wire = CANONICAL[name]
    uncut = await assert_alike(Script("GET", wire))
    for offset in range(1, len(wire)):
        assert await outcome_of("http1", Script("GET", wire, (offset,))) == uncut, offset
