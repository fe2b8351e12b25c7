"""Many who want the same file at once, some of whom leave."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from backends.contract import AssetRequest, AssetResponse, ByteStream
from backends.errors import AssetNotFound, Phase, RunnerProtocolError
from gateway.asset_cache.admission import Claim
from gateway.asset_cache.chores import Chores
from gateway.asset_cache.entry import Entry
from gateway.asset_cache.fills import Fills
from gateway.asset_cache.flight import Flight
from gateway.asset_cache.grants import LIFETIME_S
from tests.backends.calls import TENANT, asset_request
from tests.fakes.runner import HttpAnswer, UiFile
from tests.gateway.asset_cache.rig import MIB, SCRIPT, Rig, whole

MANY = 100


async def ticks(count: int = 20) -> None:
    """Let everything go as far as it can without new input."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_hundred_who_come_at_once_are_one_fetch(rig: Rig) -> None:
    rig.runner.files["big.png"] = UiFile(body=os.urandom(MIB), content_type="image/png")
    answers = await asyncio.gather(*(rig.get("big.png") for _ in range(MANY)))
    assert {each.body for each in answers} == {rig.runner.files["big.png"].body}
    assert rig.asked == ["GET big.png"]


async def test_a_hundred_whose_grant_has_expired_are_one_question(rig: Rig) -> None:
    await rig.get()
    rig.clock.now += LIFETIME_S
    answers = await asyncio.gather(*(rig.get() for _ in range(MANY)))
    assert {each.body for each in answers} == {SCRIPT}
    assert len(rig.asked) == 2


async def test_tenants_who_come_at_once_share_the_bytes_but_not_the_leave(rig: Rig) -> None:
    tenants = [f"tenant-{number % 4}" for number in range(40)]
    await asyncio.gather(*(rig.get(tenant=tenant) for tenant in tenants))
    asked = rig.runner.assets
    assert sorted(each.headers["x-tenant-id"] for each in asked) == sorted(set(tenants))
    assert sum("if-none-match" not in each.headers for each in asked) == 1


async def test_one_tenants_leave_does_not_wait_for_anothers(rig: Rig) -> None:
    await rig.get()
    rig.runner.may_answer.clear()
    asking = [
        asyncio.create_task(rig.get(tenant=tenant, timeout_s=60.0))
        for tenant in ("tenant-2", "tenant-3")
    ]
    async with asyncio.timeout(10):
        for _ in range(3):
            await rig.runner.asked.get()  # the first get, and both questions
    rig.runner.may_answer.set()
    assert {each.body for each in await asyncio.gather(*asking)} == {SCRIPT}


async def test_whoever_asked_may_leave_without_harm_to_those_who_wait(rig: Rig) -> None:
    rig.runner.may_answer.clear()
    first = asyncio.create_task(rig.get())
    await rig.runner.asked.get()
    others = [asyncio.create_task(rig.get()) for _ in range(10)]
    await ticks()
    first.cancel()
    await asyncio.wait([first])
    await rig.runner.asked.get()  # one of the others has taken over
    rig.runner.may_answer.set()
    assert {each.body for each in await asyncio.gather(*others)} == {SCRIPT}
    assert len(rig.asked) == 2
    await rig.cache.settled()


async def test_those_who_waited_in_vain_ask_for_themselves(rig: Rig) -> None:
    rig.runner.may_answer.clear()
    rig.runner.asset_script.append(HttpAnswer(status=404))
    asking = [asyncio.create_task(rig.get()) for _ in range(5)]
    await rig.runner.asked.get()
    await ticks()
    rig.runner.may_answer.set()
    first, *others = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(first, AssetNotFound)
    assert [getattr(each, "body", None) for each in others] == [SCRIPT] * 4
    assert len(rig.asked) == 5


class Paced:
    """A body that comes part by part, when the test says so."""

    def __init__(self) -> None:
        self.parts: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await self.parts.get()
        if isinstance(part, Exception):
            raise part
        if part is None:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        self.closed.set()


FILE = UiFile(body=os.urandom(4096), content_type="image/png")


class PacedRunner:
    """What a backend answers while a body is under way; a real one cannot be halted there."""

    def __init__(self) -> None:
        self.bodies: list[Paced] = []
        self.asked: list[AssetRequest] = []

    async def fetch_asset(self, request: AssetRequest) -> AssetResponse:
        self.bodies.append(Paced())
        self.asked.append(request)
        headers = (
            ("content-type", FILE.content_type),
            ("content-length", str(len(FILE.body))),
            ("etag", FILE.etag),
        )
        return AssetResponse(status=200, headers=headers, body=self.bodies[-1])


@pytest.fixture
def paced() -> PacedRunner:
    return PacedRunner()


async def ask(rig: Rig, paced: PacedRunner, timeout_s: float = 5.0) -> AssetResponse:
    request = asset_request("a.png", timeout_s=timeout_s)
    return await rig.cache.fetch(request, TENANT, paced.fetch_asset)


async def test_the_first_reads_while_the_file_comes_in(rig: Rig, paced: PacedRunner) -> None:
    response = await ask(rig, paced)
    assert not isinstance(response.body, bytes)
    (body,) = paced.bodies
    body.parts.put_nowait(FILE.body[:10])
    assert await anext(aiter(response.body)) == FILE.body[:10]
    body.parts.put_nowait(FILE.body[10:])
    body.parts.put_nowait(None)
    assert (await whole(response)).body == FILE.body[10:]
    assert body.closed.is_set()


async def test_a_first_who_does_not_read_holds_up_nobody(rig: Rig, paced: PacedRunner) -> None:
    slow = await ask(rig, paced)
    waiting = asyncio.create_task(ask(rig, paced))
    await ticks()
    (body,) = paced.bodies
    for part in (FILE.body[:100], FILE.body[100:], None):
        body.parts.put_nowait(part)
    assert (await whole(await waiting)).body == FILE.body
    assert (await whole(slow)).body == FILE.body
    assert len(paced.bodies) == 1


async def test_whoever_has_waited_half_of_the_time_asks_with_the_other_half(
    rig: Rig, paced: PacedRunner
) -> None:
    first = await ask(rig, paced, timeout_s=60.0)
    second = await ask(rig, paced, timeout_s=1.0)
    assert 0.01 < paced.asked[1].timeout_s <= 0.5
    for body in paced.bodies:
        body.parts.put_nowait(FILE.body)
        body.parts.put_nowait(None)
    assert (await whole(first)).body == (await whole(second)).body == FILE.body


async def test_a_first_who_leaves_stops_what_nobody_else_wants(
    rig: Rig, paced: PacedRunner
) -> None:
    for parts in ([], [FILE.body[:10]]):
        response = await ask(rig, paced)
        assert not isinstance(response.body, bytes)
        body = paced.bodies[-1]
        for part in parts:
            body.parts.put_nowait(part)
            await anext(aiter(response.body))
        await response.body.aclose()
        await rig.cache.settled()
        assert body.closed.is_set()
    assert rig.cache.stats().entries == 0
    assert len(paced.bodies) == 2


async def test_a_first_who_leaves_while_others_wait_stops_nothing(
    rig: Rig, paced: PacedRunner
) -> None:
    response = await ask(rig, paced)
    waiting = asyncio.create_task(ask(rig, paced))
    impatient = asyncio.create_task(ask(rig, paced))
    await ticks()
    impatient.cancel()
    await asyncio.wait([impatient])
    assert not isinstance(response.body, bytes)
    await response.body.aclose()
    await ticks()
    (body,) = paced.bodies
    body.parts.put_nowait(FILE.body)
    body.parts.put_nowait(None)
    assert (await whole(await waiting)).body == FILE.body
    assert len(paced.bodies) == 1


async def test_the_last_who_waits_stops_it_when_the_first_has_left(
    rig: Rig, paced: PacedRunner
) -> None:
    response = await ask(rig, paced)
    waiting = asyncio.create_task(ask(rig, paced))
    await ticks()
    assert not isinstance(response.body, bytes)
    await response.body.aclose()
    waiting.cancel()
    await asyncio.wait([waiting])
    await rig.cache.settled()
    assert paced.bodies[0].closed.is_set()


@pytest.mark.parametrize(
    "end",
    [RunnerProtocolError("truncated_answer", phase=Phase.BODY), None, b"x" * 5000],
    ids=["broken", "short", "long"],
)
async def test_a_body_that_breaks_off_breaks_off_here_too_and_is_not_kept(
    rig: Rig, paced: PacedRunner, end: bytes | Exception | None
) -> None:
    response = await ask(rig, paced)
    waiting = asyncio.create_task(ask(rig, paced))
    await ticks()
    paced.bodies[0].parts.put_nowait(FILE.body[:100])
    paced.bodies[0].parts.put_nowait(end)
    with pytest.raises(RunnerProtocolError):
        await whole(response)
    second = await waiting  # has had nothing yet, so it asks for itself
    paced.bodies[1].parts.put_nowait(FILE.body)
    paced.bodies[1].parts.put_nowait(None)
    assert (await whole(second)).body == FILE.body
    assert rig.cache.stats().entries == 0


async def test_a_cache_that_closes_breaks_off_what_comes_in(rig: Rig, paced: PacedRunner) -> None:
    response = await ask(rig, paced)
    await rig.cache.aclose()
    with pytest.raises(RunnerProtocolError):
        await whole(response)
    assert paced.bodies[0].closed.is_set()


async def test_a_bound_that_shrinks_meanwhile_counts_for_what_is_coming_in(
    rig: Rig, paced: PacedRunner
) -> None:
    response = await ask(rig, paced)
    rig.cache.reconfigure(max_bytes=10_000, folder=None)
    paced.bodies[0].parts.put_nowait(FILE.body)
    paced.bodies[0].parts.put_nowait(None)
    assert (await whole(response)).body == FILE.body
    assert rig.cache.stats().entries == 0


async def test_a_file_that_comes_twice_at_once_is_kept_once(rig: Rig, paced: PacedRunner) -> None:
    first = await ask(rig, paced)
    known = asset_request("a.png", headers=(("if-none-match", '"other"'),))
    second = await rig.cache.fetch(known, TENANT, paced.fetch_asset)
    assert second.body is paced.bodies[1], "the first is taken in, this one passes through"
    for body in paced.bodies:
        body.parts.put_nowait(FILE.body)
        body.parts.put_nowait(None)
    assert (await whole(first)).body == (await whole(second)).body == FILE.body
    await rig.cache.settled()
    assert rig.cache.stats().entries == 1


async def test_what_is_more_than_may_come_in_at_once_passes_through(paced: PacedRunner) -> None:
    fills = Fills(still_read_bytes=lambda: 0, max_bytes=6000)
    kept: list[bytes] = []

    def keep(content: bytes, sha256: str) -> Entry:
        kept.append(content)
        return Entry(sha256, content, (("content-type", "image/png"),))

    async def begin() -> bytes | ByteStream:
        response = await paced.fetch_asset(asset_request("a.png"))
        claim = Claim.of(response, largest=8 * MIB)
        assert claim is not None
        return fills.begin(response, claim, Flight(on_settled=lambda: None), keep)

    first, second = await begin(), await begin()
    assert first is not paced.bodies[0]
    assert second is paced.bodies[1], "nobody looks at it"
    paced.bodies[0].parts.put_nowait(FILE.body)
    paced.bodies[0].parts.put_nowait(None)
    await fills.settled()
    assert kept == [FILE.body]
    assert await begin() is not paced.bodies[2], "there is room again"
    await fills.aclose()


async def test_chores_beyond_the_bound_are_not_taken_on() -> None:
    chores = Chores(at_once=1, waiting=1)
    done: list[int] = []
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        done.append(1)

    assert [chores.offer(work) for _ in range(4)] == [True, True, False, False]
    may_end.set()
    await chores.idle()
    assert len(done) == 2
    assert chores.offer(work)
    await chores.aclose()
