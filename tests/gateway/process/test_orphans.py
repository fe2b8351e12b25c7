"""The first process of a container lets those go that nobody waits for, and no others."""

import subprocess
import sys

import pytest

ADOPTING = """
import asyncio, ctypes, os, subprocess, sys
from gateway.process import orphans

PR_SET_CHILD_SUBREAPER = 36  # what the first process of a container is, in prctl(2)

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()

async def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    orphans.LOOK_EVERY_S = 0.01
    task = asyncio.create_task(orphans.let_orphans_go())
    # Its child is this one's as soon as it has ended itself.
    forking = "import os; os.fork() or os.execlp('sleep', 'sleep', '0.1')"
    subprocess.run([sys.executable, "-c", forking])
    while not children():
        await asyncio.sleep(0.001)
    own = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
    while children():
        await asyncio.sleep(0.01)
    assert await own.wait() == 3
    task.cancel()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells without taking")
def test_an_orphan_is_let_go_and_an_own_child_is_left_to_who_waits_for_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADOPTING], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
