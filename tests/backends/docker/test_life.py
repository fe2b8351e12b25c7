"""Containers die, are rebuilt, multiply and fall ill, while calls are running."""

import asyncio

import pytest

from backends.contract import Readiness
from backends.docker_engine.dispatch import MAX_HELD
from backends.errors import RunnerProtocolError, RunnerUnreachable
from tests.backends.calls import asset_request, execute_request
from tests.backends.docker.waiting import OpenBackend, noticed
from tests.fakes.docker_engine import FakeEngine, container
from tests.fakes.raw_runner import RawRunner, response, send
from tests.fakes.runner import Envelope, FakeRunner


async def test_a_rebuilt_container_is_another_address_for_the_same_backend(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await backend.execute(execute_request())
    engine.remove("runner-1")
    async with FakeRunner() as rebuilt:
        engine.add(container("runner-1", port=rebuilt.port, container_id="b" * 64))
        await noticed(backend, lambda now: [each.url for each in now.taken] == [rebuilt.url])
        await backend.execute(execute_request())
        assert len(rebuilt.executed) == 1
        assert backend.stats().connections_idle == 1  # the old one's were dropped


async def test_calls_that_come_during_a_rebuild_are_held_and_answered(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=1, health="starting"))
    backend = await open_backend()
    calls = [asyncio.create_task(backend.execute(execute_request())) for _ in range(5)]
    calls.append(asyncio.create_task(backend.fetch_asset(asset_request())))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert (await backend.metadata())["held"] == 6
    engine.remove("runner-1")
    engine.add(container("runner-1", port=runner.port, container_id="b" * 64))
    answers = await asyncio.gather(*calls)
    assert [each.status for each in answers] == [200] * 6


async def test_no_more_calls_are_held_than_the_bound_allows(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port, health="starting"))
    backend = await open_backend()
    held = [asyncio.create_task(backend.execute(execute_request())) for _ in range(MAX_HELD)]
    await asyncio.sleep(0)
    with pytest.raises(RunnerUnreachable, match="container_starting"):
        await backend.execute(execute_request())
    engine.change("runner-1", "health_status: healthy", health="healthy")
    assert {each.status for each in await asyncio.gather(*held)} == {200}


async def test_a_held_call_is_refused_when_its_budget_ends(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=1, health="starting"))
    backend = await open_backend()
    with pytest.raises(RunnerUnreachable, match="container_starting") as caught:
        await backend.execute(execute_request(timeout_s=0.05))
    assert caught.value.retry_after_s == 2
    assert (await backend.metadata())["held"] == 0


async def test_a_held_call_ends_when_the_backend_is_closed(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=1, health="starting"))
    backend = await open_backend()
    held = asyncio.create_task(backend.execute(execute_request()))
    await asyncio.sleep(0)
    await backend.aclose()
    with pytest.raises(RunnerUnreachable, match="backend_closed"):
        await held


async def test_a_call_that_was_sent_to_a_container_that_died_is_not_sent_again(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    async with FakeRunner() as other:
        engine.add(container("runner-1", port=runner.port))
        engine.add(container("runner-2", port=other.port, number=2))
        backend = await open_backend()
        runner.may_answer.clear()
        call = asyncio.create_task(backend.execute(execute_request()))
        await runner.asked.get()
        engine.kill("runner-1")
        with pytest.raises(RunnerProtocolError, match="container_gone") as caught:
            await call
        assert not caught.value.safe_to_retry
        assert other.executed == []


async def test_a_call_that_broke_off_is_not_sent_again_and_the_container_doubted(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    async with FakeRunner() as other:
        engine.add(container("runner-1", port=runner.port))
        engine.add(container("runner-2", port=other.port, number=2))
        backend = await open_backend()
        await engine.listed(2)
        runner.may_answer.clear()
        call = asyncio.create_task(backend.execute(execute_request()))
        await runner.asked.get()
        await runner.stop()  # and the engine has not noticed
        with pytest.raises(RunnerProtocolError, match="connection_lost"):
            await call
        assert other.executed == []
        for _ in range(4):
            await backend.execute(execute_request())
        assert backend.stats().retries == 0  # none of them was tried at the first one


async def test_a_container_in_doubt_is_asked_about_before_the_next_call(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await engine.listed(2)
    runner.may_answer.clear()
    call = asyncio.create_task(backend.execute(execute_request()))
    await runner.asked.get()
    await runner.stop()
    with pytest.raises(RunnerProtocolError, match="connection_lost"):
        await call
    engine.silent = True
    engine.remove("runner-1")
    async with FakeRunner() as rebuilt:
        engine.add(container("runner-1", port=rebuilt.port, container_id="b" * 64))
        assert (await backend.execute(execute_request())).status == 200
        assert backend.stats().retries == 0
        assert engine.asked.count("containers/json") == 3


async def test_a_file_asked_of_a_container_that_died_is_asked_of_another(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    async with FakeRunner() as other:
        engine.add(container("runner-1", port=runner.port))
        engine.add(container("runner-2", port=other.port, number=2))
        backend = await open_backend()
        runner.may_answer.clear()
        call = asyncio.create_task(backend.fetch_asset(asset_request()))
        await runner.asked.get()
        engine.kill("runner-1")
        assert (await call).status == 200
        assert backend.stats().retries == 1


async def test_a_call_that_found_nobody_listening_goes_to_the_next_container(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    async with FakeRunner() as other:
        engine.add(container("runner-1", port=runner.port))
        engine.add(container("runner-2", port=other.port, number=2))
        backend = await open_backend()
        await runner.stop()  # and the engine has not noticed
        for _ in range(4):
            assert (await backend.execute(execute_request())).status == 200
        assert len(other.executed) == 4


async def test_a_call_that_found_nobody_listening_waits_for_the_successor(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await engine.listed(2)  # when listening begins; from here on it takes an event
    await runner.stop()
    engine.silent = True  # the list that the failed call asks for must be enough
    engine.kill("runner-1")
    call = asyncio.create_task(backend.execute(execute_request()))
    await noticed(backend, lambda now: not now.taken)
    engine.silent = False
    async with FakeRunner() as rebuilt:
        engine.remove("runner-1")
        engine.add(container("runner-1", port=rebuilt.port, container_id="b" * 64))
        assert (await call).status == 200
        assert len(rebuilt.executed) == 1


async def test_the_engine_is_given_a_moment_to_notice_a_death(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await engine.listed(2)
    await runner.stop()
    async with FakeRunner() as rebuilt:
        call = asyncio.create_task(backend.execute(execute_request()))
        await engine.listed(3)  # the engine still says that all is well
        engine.remove("runner-1")
        engine.add(container("runner-1", port=rebuilt.port, container_id="b" * 64))
        assert (await call).status == 200
        assert len(rebuilt.executed) == 1


async def test_a_container_whose_runner_does_not_listen_is_unreachable(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await runner.stop()
    with pytest.raises(RunnerUnreachable, match="connection_refused"):
        await backend.execute(execute_request())


async def test_healthy_replicas_share_the_load(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    async with FakeRunner() as other:
        engine.add(container("runner-1", port=runner.port))
        engine.add(container("runner-2", port=other.port, number=2))
        backend = await open_backend()
        for _ in range(10):
            await backend.execute(execute_request())
        assert (len(runner.executed), len(other.executed)) == (5, 5)
        while not runner.asked.empty():
            runner.asked.get_nowait()
        runner.may_answer.clear()
        busy = [asyncio.create_task(backend.execute(execute_request())) for _ in range(2)]
        await runner.asked.get()
        await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(5):
            await backend.execute(execute_request())
        assert (len(runner.executed), len(other.executed)) == (6, 11)  # the busy one is left alone
        runner.may_answer.set()
        await asyncio.gather(*busy)


@pytest.mark.parametrize("action", ["pause", "health_status: unhealthy"])
async def test_a_container_that_is_not_ready_any_more_finishes_what_it_began(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend, action: str
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    runner.may_answer.clear()
    begun = asyncio.create_task(backend.execute(execute_request()))
    await runner.asked.get()
    await engine.listened_to()
    if action == "pause":
        engine.change("runner-1", action, Status="paused", Paused=True)
    else:
        engine.change("runner-1", action, health="unhealthy")
    await noticed(backend, lambda now: not now.taken)
    assert (await backend.health()).readiness is Readiness.DOWN
    runner.may_answer.set()
    assert (await begun).status == 200
    engine.change("runner-1", "unpause", Status="running", Paused=False, health="healthy")
    assert (await backend.execute(execute_request())).status == 200
    assert runner.connections == 1  # the same pool as before


async def test_a_death_is_noticed_where_filters_have_another_word_for_it(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.filtered_as = {"die": "died", "destroy": "remove"}  # Podman before 5
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await engine.listened_to()
    engine.change("runner-1", "die", Status="exited")
    await noticed(backend, lambda now: not now.taken)
    engine.remove("runner-1")
    await noticed(backend, lambda now: now.is_empty)


async def test_a_storm_of_events_is_a_few_lists(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await engine.listened_to()
    for _ in range(200):
        engine.change("runner-1", "health_status: healthy", health="healthy")
        await asyncio.sleep(0.001)  # a storm, not a heap: time enough to list each one
    engine.change("runner-1", "die", Status="exited", Running=False)
    await noticed(backend, lambda now: not now.taken)
    assert engine.asked.count("containers/json") <= 40


async def test_what_happens_before_the_stream_of_events_has_begun_is_told_by_it(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port, health="starting"))
    engine.may_listen.clear()
    backend = await open_backend()
    await engine.listed(2)
    await backend._watch.refresh()  # so the one before has ended
    engine.change("runner-1", "health_status: healthy", health="healthy")
    engine.may_listen.set()
    await noticed(backend, lambda now: bool(now.taken))


async def test_an_event_stream_that_broke_is_opened_again_and_everything_listed_anew(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port, health="starting"))
    backend = await open_backend()
    await engine.listened_to()
    engine.silent = True  # what happens meanwhile is told to nobody
    engine.change("runner-1", "health_status: healthy", health="healthy")
    engine.drop_streams()
    await noticed(backend, lambda now: bool(now.taken))
    assert (await backend.execute(execute_request())).status == 200


async def test_an_engine_that_restarts_takes_no_call_with_it(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", port=runner.port))
    backend = await open_backend()
    await engine.listed(2)  # the one that follows the stream of events, too
    await engine.stop()
    await noticed(backend, lambda now: now.fault is not None)
    assert (await backend.execute(execute_request())).status == 200
    assert (await backend.health()).readiness is Readiness.READY
    async with FakeRunner() as rebuilt:
        engine.containers.clear()
        await engine.start()
        engine.add(container("runner-1", port=rebuilt.port, container_id="b" * 64))
        await noticed(backend, lambda now: [each.url for each in now.taken] == [rebuilt.url])
        assert (await backend.execute(execute_request())).status == 200
        assert len(rebuilt.executed) == 1


async def test_while_the_engine_is_away_a_container_in_doubt_is_asked_itself_before_the_next_call(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    # As a proxy of the engine's does for a container that is dead: taken, and dropped.
    dropped = send(then="close")
    well = send(response(b"{}"))
    steps = (dropped, dropped, dropped, well, send(response(Envelope().encode())))
    async with RawRunner(*steps) as runner:
        engine.add(container("runner-1", port=runner.port))
        backend = await open_backend()
        await engine.listed(2)  # the one that follows the stream of events, too
        await engine.stop()
        await noticed(backend, lambda now: now.fault is not None)
        with pytest.raises(RunnerProtocolError, match="connection_lost"):
            await backend.execute(execute_request())
        for _ in range(2):
            with pytest.raises(RunnerUnreachable, match="engine_unreachable"):
                await backend.execute(execute_request())
        assert (await backend.execute(execute_request())).status == 200
        asked = [request.target for request in runner.requests]
    assert asked == ["/v1/execute", "/healthz", "/healthz", "/healthz", "/v1/execute"]


async def test_an_engine_that_starts_after_the_gateway_is_found(
    engine: FakeEngine, runner: FakeRunner, open_backend: OpenBackend
) -> None:
    await engine.stop()
    backend = await open_backend()
    assert (await backend.health()).detail == "engine_unreachable"
    engine.add(container("runner-1", port=runner.port))
    await engine.start()
    await noticed(backend, lambda now: bool(now.taken))
    assert (await backend.execute(execute_request())).status == 200
