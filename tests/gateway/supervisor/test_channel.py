"""Questions and answers over a socket pair."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.frames import first_message
from gateway.supervisor.channel import AskFailed, Channel, ChannelClosed, Handle


async def silent(verb: str, arguments: dict[str, Any]) -> Any:
    """Nothing is asked of this end."""


@asynccontextmanager
async def two_ends(handle: Handle) -> AsyncIterator[tuple[Channel, Channel]]:
    """An end that asks, and one that answers by `handle`."""
    mine, its = socket.socketpair()
    asking, answering = Channel(mine, silent), Channel(its, handle)
    await asking.open()
    await answering.open()
    yield asking, answering
    await asking.aclose()
    await answering.aclose()


async def test_answers_find_their_questions_in_any_order() -> None:
    second_was_asked = asyncio.Event()

    async def handle(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "first":
            await second_was_asked.wait()
        else:
            second_was_asked.set()
        return verb, arguments["body"]

    body = b"x" * 3_000_000  # more than fits into a socket's buffer
    async with two_ends(handle) as (asking, _):
        answers = await asyncio.gather(
            asking.ask("first", within_s=30, body=body),
            asking.ask("second", within_s=30, body=b""),
        )
    assert list(answers) == [("first", body), ("second", b"")]


async def test_an_end_that_fails_says_so() -> None:
    async def handle(verb: str, arguments: dict[str, Any]) -> Any:
        raise KeyError(verb)

    async with two_ends(handle) as (asking, _):
        with pytest.raises(AskFailed, match="KeyError"):
            await asking.ask("anything", within_s=30)


async def test_an_end_that_is_silent_is_not_waited_for_longer_than_told() -> None:
    never = asyncio.Event()

    async def handle(verb: str, arguments: dict[str, Any]) -> Any:
        await never.wait()

    async with two_ends(handle) as (asking, _):
        with pytest.raises(TimeoutError):
            await asking.ask("anything", within_s=0.01)


async def test_an_end_that_goes_leaves_nobody_waiting() -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def handle(verb: str, arguments: dict[str, Any]) -> Any:
        asked.set()
        await never.wait()

    async with two_ends(handle) as (asking, answering):
        waiting = asyncio.create_task(asking.ask("anything", within_s=30))
        await asked.wait()
        await answering.aclose()
        with pytest.raises(ChannelClosed):
            await waiting
        with pytest.raises(ChannelClosed):
            await asking.ask("anything", within_s=30)
        asking.tell("anything")  # nobody hears it, and that is all


async def test_the_first_message_is_read_without_a_loop_and_the_rest_is_left() -> None:
    mine, its = socket.socketpair()
    talking = Channel(mine, silent)
    await talking.open()
    talking.greet({"place": 1})
    heard = asyncio.get_running_loop().create_future()

    async def handle(verb: str, arguments: dict[str, Any]) -> Any:
        heard.set_result((verb, arguments))

    talking.tell("cover", places=[1])
    assert await asyncio.to_thread(first_message, its) == {"place": 1}
    hearing = Channel(its, handle)
    await hearing.open()
    assert await heard == ("cover", {"places": [1]})
    await talking.aclose()
    await hearing.aclose()


def test_an_end_that_goes_before_its_first_message_is_noticed() -> None:
    mine, its = socket.socketpair()
    mine.close()
    with its, pytest.raises(EOFError):
        first_message(its)
