"""What a connection does around the requests that take the fast path."""

import asyncio

import pytest

from backends.turn_writes import TurnTransport
from gateway.keys import FAST_PATH, IN_FLIGHT, METRICS
from gateway.server import GatewayProtocol
from tests.fakes.runner import FakeRunner
from tests.gateway.fast_path.wire import PATIENCE_S, request, wire_to
from tests.gateway.harness import HASH, Gateway, in_front_of, running

SCRIPT = request(f"GET /runner/ext-ui/registry-1/{HASH}/app.js")
CALL = request("GET /api/ext/acme.crm/hello")
HEALTH = request("GET /healthz")


async def asked(runner: FakeRunner) -> None:
    """Until the runner holds a request."""
    async with asyncio.timeout(PATIENCE_S):
        await runner.asked.get()


async def settled(gateway: Gateway) -> None:
    assert await gateway.live.slot.current.drained(PATIENCE_S)
    await asyncio.sleep(0)  # the lease ends within the exchange
    assert not gateway.app[IN_FLIGHT].count


@pytest.mark.parametrize("size", range(1, len(CALL), 7))
async def test_a_request_in_two_pieces_is_one_request(
    gateway: Gateway, runner: FakeRunner, size: int
) -> None:
    async with wire_to(gateway.port) as wire:
        for _ in range(2):
            wire.send(CALL[:size])
            await wire.writer.drain()
            await asyncio.sleep(0.005)  # apart on the wire
            wire.send(CALL[size:])
            assert (await wire.answer()).status == 200
    assert len(runner.executed) == 2


async def test_requests_sent_at_once_are_answered_in_their_order(gateway: Gateway) -> None:
    async with wire_to(gateway.port) as wire:
        wire.send(SCRIPT + CALL + HEALTH + SCRIPT)
        bodies = [(await wire.answer()).body for _ in range(4)]
    assert bodies[0] == bodies[3] == b"console.log('hello');"
    assert b'"path": "/hello"' in bodies[1]


async def test_what_comes_during_a_call_waits_for_its_answer(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.may_answer.clear()
    async with wire_to(gateway.port) as wire:
        wire.send(CALL)
        await asked(runner)
        wire.send(HEALTH + SCRIPT)
        await wire.writer.drain()
        runner.may_answer.set()
        first, second, third = [await wire.answer() for _ in range(3)]
    assert b"/hello" in first.body
    assert b"ok" in second.body
    assert third.body == b"console.log('hello');"


async def test_a_client_that_leaves_cancels_its_call(gateway: Gateway, runner: FakeRunner) -> None:
    runner.may_answer.clear()
    async with wire_to(gateway.port) as wire:
        wire.send(CALL)
        await asked(runner)
    async with asyncio.timeout(PATIENCE_S):
        await runner.abandoned.wait()
    await settled(gateway)
    abandoned = [key for key in gateway.app[METRICS]._requests if key[-1] == "abandoned"]
    assert [key[0] for key in abandoned] == ["/api/ext/{extension}/{path}"]
    assert not any(gateway.app[METRICS].in_flight.values())


async def test_a_body_that_comes_in_parts_goes_the_librarys_way_and_the_next_one_does_not(
    gateway: Gateway, runner: FakeRunner
) -> None:
    body = b"x" * 300_000
    upload = request("POST /api/ext/acme.crm/echo", body=body)
    async with wire_to(gateway.port) as wire:
        for _ in range(2):
            wire.send(upload)
            assert (await wire.answer()).status == 200
            wire.send(SCRIPT)
            assert (await wire.answer()).body == b"console.log('hello');"
    assert [each.guest_body for each in runner.executed] == [body, body]


async def test_a_stop_lets_a_call_finish_and_closes_its_connection(runner: FakeRunner) -> None:
    runner.may_answer.clear()
    async with running(in_front_of(runner)) as gateway, wire_to(gateway.port) as wire:
        wire.send(CALL)
        await asked(runner)
        asyncio.get_running_loop().call_later(0.1, runner.may_answer.set)
        stopping = asyncio.create_task(gateway.app.shutdown())
        await stopping
        assert (await wire.answer()).status == 200


async def test_a_repeated_question_is_asked_anew_after_a_reload(runner: FakeRunner) -> None:
    environ = in_front_of(runner, GATEWAY_ASSET_CACHE_MB="8")
    async with running(environ) as gateway, wire_to(gateway.port) as wire:
        for _ in range(3):
            wire.send(SCRIPT)
            assert dict((await wire.answer()).fields)["x-runner-generation"] == "1"
        repeats = gateway.app[FAST_PATH].repeats
        assert SCRIPT in repeats.known
        assert len(runner.assets) == 1
        gateway.environ["EXT_UI_FRAME_ANCESTORS"] = "'none'"
        async with gateway.client.post(gateway.url + "/gateway/v1/reload") as reloaded:
            assert (await reloaded.json())["outcome"] == "switched", await reloaded.text()
        wire.send(SCRIPT)
        fields = dict((await wire.answer()).fields)
    assert fields["x-runner-generation"] == "2"
    assert fields["content-security-policy"] == "frame-ancestors 'none'"
    assert len(runner.assets) == 2  # the new generation's runner was asked for its leave


async def test_a_question_with_a_key_is_not_remembered(runner: FakeRunner) -> None:
    key = "a-long-enough-proxy-key"
    environ = in_front_of(
        runner, GATEWAY_ASSET_CACHE_MB="8", GATEWAY_AUTH="proxy", GATEWAY_PROXY_KEY=key
    )
    raw = SCRIPT.replace(
        b"\r\n\r\n", f"\r\nx-gateway-key: {key}\r\nx-alga-tenant: t\r\n\r\n".encode()
    )
    async with running(environ) as gateway, wire_to(gateway.port) as wire:
        for _ in range(3):
            wire.send(raw)
            assert (await wire.answer()).status == 200
        assert not gateway.app[FAST_PATH].repeats.known
    assert len(runner.assets) == 1


async def test_past_the_limit_even_a_repeated_question_is_refused(runner: FakeRunner) -> None:
    environ = in_front_of(runner, GATEWAY_ASSET_CACHE_MB="8", GATEWAY_MAX_IN_FLIGHT="1")
    async with running(environ) as gateway, wire_to(gateway.port) as wire:
        for _ in range(2):
            wire.send(SCRIPT)
            assert (await wire.answer()).status == 200
        while not runner.asked.empty():
            await asked(runner)  # for the file
        runner.may_answer.clear()
        async with wire_to(gateway.port) as other:
            other.send(CALL)
            await asked(runner)
            wire.send(SCRIPT)
            assert (await wire.answer()).status == 503
            runner.may_answer.set()
            assert (await other.answer()).status == 200


async def test_an_answer_of_the_turn_in_which_its_client_says_no_more_is_sent(
    runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What TLS does when a request and the end come in one record; a plain socket tells of its end
    # in a turn of its own.
    receive = GatewayProtocol.data_received

    def receive_all(connection: GatewayProtocol, data: bytes) -> None:
        receive(connection, data)
        assert isinstance(connection.transport, TurnTransport)
        connection.eof_received()
        connection.transport.beneath.close()

    async with (
        running(in_front_of(runner, GATEWAY_ASSET_CACHE_MB="8")) as gateway,
        wire_to(gateway.port) as wire,
    ):
        wire.send(SCRIPT)
        first = await wire.answer()
        monkeypatch.setattr(GatewayProtocol, "data_received", receive_all)
        wire.send(SCRIPT)  # from memory, so in the turn that reads it
        assert await wire.answer() == first
        assert await wire.reader.read() == b""
