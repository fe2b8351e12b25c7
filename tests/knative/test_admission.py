"""A line is short, fair and patient for a while only."""

import asyncio

import pytest

from backends.errors import Phase, RunnerOverloaded
from backends.knative_path.admission import Admission


class Crowd:
    """Calls that are held until they are told to go."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.order: list[str] = []
        self.go = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, extension: str) -> None:
        async def call() -> None:
            async with self.admission.turn(extension, timeout_s=30.0):
                self.order.append(extension)
                await self.go.wait()

        self.tasks.append(asyncio.create_task(call()))
        await asyncio.sleep(0)  # lets it get as far as it can

    async def leave(self) -> None:
        self.go.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_one_extension_holds_no_more_than_its_share() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 2))
    for extension in ("a", "a", "a", "b"):
        await crowd.come(extension)
    assert crowd.order == ["a", "a", "b"]
    await crowd.leave()
    assert crowd.order == ["a", "a", "b", "a"]
    assert (crowd.admission.running, crowd.admission.waiting) == (0, 0)


async def test_all_handlers_together_leave_room_for_files() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 9, handlers=3))
    for extension in "abcd":
        await crowd.come(extension)
    assert crowd.order == ["a", "b", "c"]
    await crowd.leave()


async def test_free_places_go_round_the_extensions() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 9, handlers=1))
    for extension in ("a", "b", "b", "b", "c"):
        await crowd.come(extension)
    await crowd.leave()
    assert crowd.order == ["a", "b", "c", "b", "b"]


async def test_a_full_line_refuses_at_once() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 1, line_per_extension=1))
    await crowd.come("a")
    await crowd.come("a")
    await crowd.come("a")
    refused = crowd.tasks[-1]
    with pytest.raises(RunnerOverloaded, match="line_full") as caught:
        await refused
    assert (caught.value.phase, caught.value.retry_after_s) == (Phase.ADMIT, 1)
    await crowd.leave()


async def test_whoever_waits_too_long_is_told_and_the_line_moves_on() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 1, patience_s=0.01))
    await crowd.come("a")
    await crowd.come("a")
    late = crowd.tasks[-1]
    with pytest.raises(RunnerOverloaded, match="line_too_slow"):
        await late
    assert crowd.admission.waiting == 0
    await crowd.leave()
    assert crowd.admission.running == 0


async def test_a_caller_who_leaves_takes_no_place_along() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 1))
    await crowd.come("a")
    await crowd.come("a")
    left = crowd.tasks[-1]
    await crowd.come("a")
    left.cancel()
    await crowd.leave()
    assert crowd.order == ["a", "a"]
    assert (crowd.admission.running, crowd.admission.waiting) == (0, 0)


async def test_a_caller_who_leaves_as_a_place_comes_free_is_passed_over() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 1))
    for _ in range(3):
        await crowd.come("a")
    crowd.go.set()  # the first gives its place up in the next turn of the loop ...
    crowd.tasks[1].cancel()  # ... in which the second has been told, and has not left yet
    await crowd.leave()
    assert crowd.order == ["a", "a"]
    assert (crowd.admission.running, crowd.admission.waiting) == (0, 0)


async def test_a_place_given_to_a_caller_who_just_left_goes_to_the_next() -> None:
    crowd = Crowd(Admission(per_extension=lambda: 1))
    await crowd.come("a")
    first = crowd.tasks[-1]
    await crowd.come("a")
    second = crowd.tasks[-1]
    await crowd.come("a")
    first.cancel()
    await asyncio.sleep(0)  # the first has given its place to the second, which has not woken
    second.cancel()
    await crowd.leave()
    assert crowd.order == ["a", "a"]
    assert (crowd.admission.running, crowd.admission.waiting) == (0, 0)
