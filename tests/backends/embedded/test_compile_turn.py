"""Who compiles, where several could: one at a time, and nobody waits for the dead or for ever."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.embedded.compile_turn import compile_turn

HOLD = """
import sys, time
from pathlib import Path
from backends.files.lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "component.lock"


@pytest.fixture
def other(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def left_over(lock: Path) -> list[Path]:
    return list(lock.parent.iterdir())


async def test_one_at_a_time_and_the_lock_is_gone_afterwards(lock: Path) -> None:
    inside: list[int] = []

    async def take(number: int) -> None:
        async with compile_turn(lock, deadline_s=30):
            inside.append(number)
            await asyncio.sleep(0)
            assert inside[-1] == number

    await asyncio.gather(*map(take, range(3)))
    assert sorted(inside) == [0, 1, 2]
    assert left_over(lock) == []


async def test_a_process_that_is_killed_lets_go(lock: Path, other: subprocess.Popen[str]) -> None:
    async def take() -> None:
        async with compile_turn(lock, deadline_s=30):
            pass

    waiting = asyncio.create_task(take())
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    other.kill()
    await asyncio.wait_for(waiting, 20)


@pytest.mark.usefixtures("other")
async def test_past_the_deadline_it_goes_on_without_the_lock(lock: Path) -> None:
    async with compile_turn(lock, deadline_s=0.2):
        pass
    assert left_over(lock) == [lock]  # the other's still


async def test_it_needs_no_lock(tmp_path: Path) -> None:
    for lock in (None, tmp_path / "missing" / "component.lock"):
        async with compile_turn(lock, deadline_s=30):
            pass
