"""Short calls are answered on the event loop's thread, and nothing there is held up by the rest."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from backends.contract import ExecuteContext, ExecuteRequest, Limits
from backends.embedded import pace
from backends.embedded.backend import EmbeddedBackend
from backends.embedded.host.call import Call
from backends.embedded.host.never_waits import answers_at_once
from backends.settings import EmbeddedSettings
from tests.backends.embedded import wat

HAS_BODY = "(i32.load8_u (i32.add (local.get $request) (i32.const 76)))"
ENDLESS_WITH_A_BODY = f"(if {HAS_BODY} (then (loop $forever (br $forever))))"


class Threads:
    """logging.log-info as a note of the thread that it was called in."""

    def __init__(self) -> None:
        self.ran_in: list[int] = []

    def note(self, _call: Call, _message: str) -> None:
        self.ran_in.append(threading.get_ident())

    @property
    def on_loop(self) -> list[bool]:
        return [ident == threading.get_ident() for ident in self.ran_in]


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def settings(tmp_path: Path) -> EmbeddedSettings:
    return EmbeddedSettings(bundle_dir=tmp_path / "bundles", max_concurrency=1, max_queue=9)


@pytest.fixture
async def at_once(settings: EmbeddedSettings, threads: Threads) -> AsyncIterator[EmbeddedBackend]:
    @answers_at_once
    def log_info(call: Call, message: str) -> None:
        threads.note(call, message)

    functions = {"logging": {"log-info": log_info}}
    backend = await EmbeddedBackend.open(settings, host_functions=functions)
    yield backend
    await backend.aclose()


@pytest.fixture
async def waiting(settings: EmbeddedSettings, threads: Threads) -> AsyncIterator[EmbeddedBackend]:
    functions = {"logging": {"log-info": threads.note}}
    backend = await EmbeddedBackend.open(settings, host_functions=functions)
    yield backend
    await backend.aclose()


def asking(settings: EmbeddedSettings, component: str) -> ExecuteRequest:
    content_hash = wat.install(settings.bundle_dir, component)
    return ExecuteRequest(
        request_id="r-1",
        context=ExecuteContext(tenant_id="t1", extension_id="e1", content_hash=content_hash),
        method="POST",
        path="/x",
        limits=Limits(timeout_ms=20_000),
        timeout_s=30.0,
    )


@contextmanager
def unhurried() -> Iterator[None]:
    """Let no call look long: a busy machine has a short one use more of a core than it should."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "TURN_S", 10.0)
        yield


async def test_a_guest_of_short_calls_runs_on_the_loops_thread_from_its_second_call_on(
    at_once: EmbeddedBackend, settings: EmbeddedSettings, threads: Threads
) -> None:
    said = asking(settings, wat.calling_log_info())
    with unhurried():
        for _ in range(4):
            assert (await at_once.execute(said)).status == 200
    assert threads.on_loop == [False, True, True, True]


async def test_a_host_function_that_may_wait_is_never_called_on_the_loops_thread(
    waiting: EmbeddedBackend, settings: EmbeddedSettings, threads: Threads
) -> None:
    said = asking(settings, wat.calling_log_info())
    for _ in range(4):
        assert (await waiting.execute(said)).status == 200
    assert threads.on_loop == [False] * 4


async def test_a_long_body_is_not_moved_on_the_loops_thread(
    at_once: EmbeddedBackend, settings: EmbeddedSettings, threads: Threads
) -> None:
    said = asking(settings, wat.calling_log_info())
    await at_once.execute(said)
    await at_once.execute(replace(said, body=bytes(100_000)))
    assert threads.on_loop == [False, False]


async def test_a_guest_that_takes_longer_than_its_turn_leaves_the_loop_and_stays_away(
    at_once: EmbeddedBackend, settings: EmbeddedSettings, threads: Threads
) -> None:
    said = asking(settings, wat.calling_log_info(then=ENDLESS_WITH_A_BODY))
    with unhurried():
        for _ in range(2):
            assert (await at_once.execute(said)).status == 200
    endless = replace(said, body=b"x", limits=Limits(timeout_ms=300))
    spinning = asyncio.create_task(at_once.execute(endless))
    turns = 0
    while not spinning.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    assert spinning.result().error == "execute_timeout"
    assert (await at_once.execute(said)).status == 200
    assert threads.on_loop == [False, True, True, False]


async def test_a_short_call_waits_for_a_place_like_any_other(
    at_once: EmbeddedBackend, settings: EmbeddedSettings, threads: Threads
) -> None:
    said = asking(settings, wat.calling_log_info(then=ENDLESS_WITH_A_BODY))
    await at_once.execute(said)
    endless = replace(said, body=b"x", limits=Limits(timeout_ms=200))
    first = asyncio.create_task(at_once.execute(endless))
    second = asyncio.create_task(at_once.execute(said))
    await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
    assert first.done()
    assert (await second).status == 200


async def test_a_failure_on_the_loops_thread_gives_its_place_back(
    at_once: EmbeddedBackend, settings: EmbeddedSettings
) -> None:
    said = asking(settings, wat.guest(f"(if {HAS_BODY} (then unreachable)) {wat.answering(200)}"))
    for body, error in ((None, None), (b"x", "execute_trapped"), (None, None)):
        answer = await asyncio.wait_for(at_once.execute(replace(said, body=body)), 10)
        assert answer.error == error
