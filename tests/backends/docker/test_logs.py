"""The runner's log as one stream: through restarts, rebuilds and engine failures."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from backends.runner_log import LogLine
from tests.backends.docker.waiting import OpenBackend, noticed
from tests.fakes.docker_engine import FakeEngine, container


def at(second: int) -> str:
    return f"2026-11-23T14:00:{second:02}.000000001Z"


async def some(lines: AsyncIterator[LogLine], count: int) -> list[str]:
    async with asyncio.timeout(10):
        return [(await anext(lines)).text for _ in range(count)]


@pytest.mark.parametrize("tty", [False, True])
async def test_what_was_written_so_far_is_read_and_then_it_ends(
    engine: FakeEngine, open_backend: OpenBackend, tty: bool
) -> None:
    engine.add(container("runner-1", tty=tty))
    for second in range(5):
        await engine.write("runner-1", at(second), f"line {second}\n")
    backend = await open_backend()
    lines = [line async for line in backend.log_lines(follow=False, tail=2)]
    assert [(line.text, line.container, line.at) for line in lines] == [
        ("line 3", "runner-1", at(3)),
        ("line 4", "runner-1", at(4)),
    ]


async def test_following_goes_on_after_a_restart_without_repeating_a_line(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1"))
    await engine.write("runner-1", at(1), "one\n")
    await engine.write("runner-1", at(2), "two\n")
    await engine.write("runner-1", at(2), "two, the same instant\n")
    backend = await open_backend()
    await engine.listened_to()
    async with aclosing(backend.log_lines(follow=True, tail=None)) as lines:
        assert await some(lines, 3) == ["one", "two", "two, the same instant"]
        engine.kill("runner-1")
        await engine.wake_readers()
        await noticed(backend, lambda now: not now.candidates[0].running)
        await engine.write("runner-1", at(2), "last words\n")
        await engine.write("runner-1", at(3), "three\n")
        engine.change("runner-1", "start", Status="running", Running=True)
        assert await some(lines, 2) == ["last words", "three"]
        await engine.write("runner-1", at(4), "four\n")
        assert await some(lines, 1) == ["four"]
    assert "since" not in engine.log_params[0]


async def test_following_goes_on_after_the_engine_restarted(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1"))
    await engine.write("runner-1", at(1), "one\n")
    backend = await open_backend()
    async with aclosing(backend.log_lines(follow=True, tail=None)) as lines:
        assert await some(lines, 1) == ["one"]
        await engine.stop()
        await noticed(backend, lambda now: now.fault is not None)
        await engine.start()
        await engine.write("runner-1", at(2), "two\n")
        assert await some(lines, 1) == ["two"]


async def test_a_container_that_comes_later_is_followed_from_its_first_line(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1"))
    await engine.write("runner-1", at(1), "old\n")
    backend = await open_backend()
    await engine.listened_to()
    async with aclosing(backend.log_lines(follow=True, tail=1)) as lines:
        assert await some(lines, 1) == ["old"]
        engine.remove("runner-1")
        await engine.wake_readers()
        engine.add(container("runner-1", container_id="b" * 64))
        await engine.write("runner-1", at(2), "new 1\n")
        await engine.write("runner-1", at(3), "new 2\n", stream=2)
        assert await some(lines, 2) == ["new 1", "new 2"]


async def test_a_container_without_frames_ends_its_stream_and_no_more(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1", tty=True))
    engine.add(container("runner-2", number=2))
    await engine.write("runner-1", at(1), "raw\n")
    await engine.write("runner-2", at(1), "framed\n")
    backend = await open_backend()
    engine.containers[container("runner-1")["Id"]]["Config"]["Tty"] = False
    engine.containers[container("runner-2")["Id"]]["Config"]["Tty"] = True
    lines = [line.text async for line in backend.log_lines(follow=False, tail=None)]
    assert "raw" not in lines


async def test_following_ends_with_the_backend(
    engine: FakeEngine, open_backend: OpenBackend
) -> None:
    engine.add(container("runner-1"))
    backend = await open_backend()

    async def read() -> list[LogLine]:
        return [line async for line in backend.log_lines(follow=True, tail=None)]

    reading = asyncio.create_task(read())
    await engine.log_opened.wait()
    await backend.aclose()
    async with asyncio.timeout(5):
        assert await reading == []
