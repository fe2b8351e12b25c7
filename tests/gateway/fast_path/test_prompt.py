"""Calls that are begun on the spot: what they leave behind however they end."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import orjson
import pytest

from gateway.fast_path.exchange import Exchange
from gateway.keys import FAST_PATH, IN_FLIGHT, METRICS
from gateway.server import GatewayProtocol
from tests.fakes.raw_runner import RawRunner, Step, Wire, chunked, hang, head, response, send
from tests.gateway.fast_path.wire import PATIENCE_S, request, wire_to
from tests.gateway.harness import HASH, Gateway, running

SCRIPT = request(f"GET /runner/ext-ui/registry-1/{HASH}/app.js")
CALL = request("POST /api/ext/acme.crm/echo", body=b"x")
FILE = response(b"1+1;", fields=[("Content-Type", "text/javascript")])
RESULT = response(orjson.dumps({"status": 201, "headers": {}, "body_b64": "b2s=", "error": None}))


class Scripted:
    """A runner that is well, and answers everything else by one step after the other."""

    def __init__(self, steps: Iterator[Step]) -> None:
        self._steps = steps
        self.raw = RawRunner(self._answer)
        self.asked = asyncio.Event()

    @property
    def questions(self) -> list[str]:
        """What was asked besides how it is."""
        return [each.target for each in self.raw.requests if each.target != "/healthz"]

    async def _answer(self, wire: Wire) -> None:
        if self.raw.requests[-1].target == "/healthz":
            await wire.send(response(b"{}"))
            return
        self.asked.set()
        await next(self._steps)(wire)


@asynccontextmanager
async def in_front_of(*steps: Step, **more: str) -> AsyncIterator[tuple[Gateway, Scripted]]:
    """A gateway that has a connection to its runner, and one answer behind it."""
    runner = Scripted(iter((send(FILE), *steps)))
    environ = {
        "RUNNER_BACKEND": "docker",
        "GATEWAY_ASSET_CACHE_MB": "0",
        "GATEWAY_PROBE_INTERVAL_MS": "3600000",
        **more,
    }
    async with runner.raw as raw, running({**environ, "RUNNER_DOCKER_HOST": raw.url}) as gateway:
        async with wire_to(gateway.port) as wire:
            wire.send(SCRIPT)
            assert (await wire.answer()).body == b"1+1;"
        runner.asked.clear()
        yield gateway, runner


async def settled(gateway: Gateway) -> None:
    assert await gateway.live.slot.current.drained(PATIENCE_S)
    assert not gateway.app[IN_FLIGHT].count
    assert not gateway.app[IN_FLIGHT].longest()
    assert not any(gateway.app[METRICS].in_flight.values())


@pytest.fixture
def forbid_tasks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, whatever runs a request in a task goes unanswered."""

    async def run(*_: object) -> None:
        raise AssertionError("a task was made")

    return lambda: monkeypatch.setattr(Exchange, "_run", run)


@pytest.mark.parametrize(
    ("asked", "answered", "status", "body"),
    [
        (SCRIPT, FILE, 200, b"1+1;"),
        (SCRIPT, head("304 Not Modified", [("ETag", '"1"')]), 304, b""),
        (CALL, RESULT, 201, b"ok"),
    ],
    ids=["a file", "not modified", "a call"],
)
async def test_what_comes_in_one_piece_is_answered_without_a_task(
    forbid_tasks: Callable[[], None], asked: bytes, answered: bytes, status: int, body: bytes
) -> None:
    async with in_front_of(send(answered), send(answered)) as (gateway, runner):
        forbid_tasks()
        async with wire_to(gateway.port) as wire:
            for _ in range(2):
                wire.send(asked)
                answer = await wire.answer()
                assert (answer.status, body in answer.body) == (status, True)
        await settled(gateway)
        assert len(runner.questions) == 3


@pytest.mark.parametrize(
    ("asked", "answered", "status", "code"),
    [
        (SCRIPT, response(b"no", status="404 Not Found"), 404, b"asset_not_found"),
        (CALL, response(b"not json"), 502, b"bad_gateway"),
        (CALL, response(b"", status="503 Service Unavailable"), 503, b"runner_"),
        (CALL, head("101 Switching Protocols"), 502, b"bad_gateway"),
    ],
    ids=["no file", "no envelope", "unavailable", "no answer"],
)
async def test_a_failure_is_answered(
    asked: bytes, answered: bytes, status: int, code: bytes
) -> None:
    async with in_front_of(send(answered)) as (gateway, _):
        async with wire_to(gateway.port) as wire:
            wire.send(asked)
            answer = await wire.answer()
            assert (answer.status, code in answer.body) == (status, True)
        await settled(gateway)


@pytest.mark.parametrize(
    ("asked", "step"),
    [(SCRIPT, hang()), (CALL, hang()), (CALL, hang(RESULT[:-5]))],
    ids=["a file", "a call", "a call that has begun to be answered"],
)
@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "the library's way"])
async def test_a_total_timeout_says_how_long_it_was(asked: bytes, step: Step, fast: bool) -> None:
    async with in_front_of(step, EXT_GATEWAY_TIMEOUT_MS="150") as (gateway, _):
        if not fast:
            del gateway.app._state[FAST_PATH]
        async with wire_to(gateway.port) as wire:
            wire.send(asked)
            answer = await wire.answer()
        assert answer.status == 504
        detail = orjson.loads(answer.body)["detail"]
        assert detail == "The extension took too long: total timeout after 0.15 s."


@pytest.mark.parametrize(
    ("asked", "step", "body"),
    [
        (SCRIPT, send(head("200 OK", [("Content-Length", "4")]), b"1+1;"), b"1+1;"),
        (SCRIPT, send(response(b"x" * 300_000)), b"x" * 300_000),
        (SCRIPT, send(chunked(b"1+", b"1;")), b"1+1;"),
        (CALL, send(RESULT[:-5], RESULT[-5:]), b"ok"),
    ],
    ids=["in two pieces", "long", "of unknown length", "an envelope in two pieces"],
)
async def test_what_comes_in_pieces_is_waited_for(asked: bytes, step: Step, body: bytes) -> None:
    async with in_front_of(step) as (gateway, _):
        async with wire_to(gateway.port) as wire:
            wire.send(asked)
            assert (await wire.answer()).body == body
        await settled(gateway)


@pytest.mark.parametrize("asked", [SCRIPT, CALL])
async def test_whoever_leaves_takes_the_call_along(
    forbid_tasks: Callable[[], None], asked: bytes
) -> None:
    left = asyncio.Event()

    async def hold(wire: Wire) -> None:
        await wire.reader.read()
        left.set()

    async with in_front_of(hold) as (gateway, runner):
        forbid_tasks()
        async with asyncio.timeout(PATIENCE_S):
            async with wire_to(gateway.port) as wire:
                wire.send(asked)
                await runner.asked.wait()
                assert gateway.live.slot.current.in_flight == 1
            await left.wait()
        await settled(gateway)
        outcomes = [key[-1] for key in gateway.app[METRICS]._requests]
        assert outcomes.count("abandoned") == 1


async def test_a_call_ends_in_the_turn_in_which_its_client_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else what the runner tells in between would be waited for by nobody."""
    left: list[int] = []
    lose = GatewayProtocol.connection_lost

    async with in_front_of(hang()) as (gateway, runner):

        def look(protocol: GatewayProtocol, exc: BaseException | None) -> None:
            lose(protocol, exc)
            left.append(gateway.live.slot.current.in_flight)

        monkeypatch.setattr(GatewayProtocol, "connection_lost", look)
        async with wire_to(gateway.port) as wire:
            wire.send(SCRIPT)
            await runner.asked.wait()
        await settled(gateway)
    assert set(left) == {0}


async def test_a_stop_waits_for_the_answer(forbid_tasks: Callable[[], None]) -> None:
    may_answer = asyncio.Event()

    async def hold(wire: Wire) -> None:
        await may_answer.wait()
        await wire.send(RESULT)

    async with in_front_of(hold) as (gateway, runner), wire_to(gateway.port) as wire:
        forbid_tasks()
        wire.send(CALL)
        await runner.asked.wait()
        asyncio.get_running_loop().call_later(0.1, may_answer.set)
        await gateway.app.shutdown()
        assert (await wire.answer()).status == 201


async def test_a_stop_gives_up_in_the_end(forbid_tasks: Callable[[], None]) -> None:
    async with in_front_of(hang()) as (gateway, runner), wire_to(gateway.port) as wire:
        forbid_tasks()
        wire.send(CALL)
        await runner.asked.wait()
    assert not any(gateway.app[METRICS].in_flight.values())


async def test_a_file_is_asked_for_again_when_its_connection_died() -> None:
    async with in_front_of(send(then="close"), send(FILE)) as (gateway, runner):
        async with wire_to(gateway.port) as wire:
            wire.send(SCRIPT)
            assert (await wire.answer()).body == b"1+1;"
        await settled(gateway)
        assert len(runner.questions) == 3
        assert gateway.live.slot.current.backend.stats().retries == 1


async def test_a_call_is_not_asked_again() -> None:
    async with in_front_of(send(then="close"), send(RESULT)) as (gateway, runner):
        async with wire_to(gateway.port) as wire:
            wire.send(CALL)
            assert (await wire.answer()).status == 502
        await settled(gateway)
        assert runner.questions == [runner.questions[0], "/v1/execute"]


async def test_a_backend_that_declines_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_front_of(send(FILE), send(RESULT)) as (gateway, _):
        backend = gateway.live.slot.current.prompt
        assert backend is not None
        for name in ("begin_asset", "begin_execute"):
            monkeypatch.setattr(backend, name, lambda *_: None)
        async with wire_to(gateway.port) as wire:
            for asked, status in ((SCRIPT, 200), (CALL, 201)):
                wire.send(asked)
                assert (await wire.answer()).status == status
        await settled(gateway)


@pytest.mark.parametrize(("asked", "answered"), [(SCRIPT, FILE), (CALL, RESULT)])
async def test_a_request_leaves_nothing_for_the_collector(asked: bytes, answered: bytes) -> None:
    async def left_by(times: int) -> int:
        """Objects that only the cyclic collector would find."""
        gc.collect()
        for _ in range(times):
            wire.send(asked)
            await wire.answer()
        return gc.collect()

    steps = [send(answered)] * 60
    async with in_front_of(*steps) as (gateway, _), wire_to(gateway.port) as wire:
        gc.disable()
        try:
            await left_by(9)
            assert await left_by(40) - await left_by(10) < 30
        finally:
            gc.enable()
