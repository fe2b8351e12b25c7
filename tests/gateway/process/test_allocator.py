"""The allocator is told once, and only one that understands."""

import platform
import subprocess
import sys

import pytest

FAULTS_OF_LARGE_BLOCKS = """
import resource, sys
from gateway.process.allocator import keep_large_blocks
if sys.argv[1] == "told":
    assert keep_large_blocks()
def burst():
    for _ in range(4):  # a newer glibc keeps a single one by itself
        blocks = [bytearray(300_000) for _ in range(4)]
        del blocks

burst()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
burst()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's allocator")
def test_large_blocks_are_kept_instead_of_faulted_in_anew() -> None:
    def faults(told: str) -> int:
        command = [sys.executable, "-c", FAULTS_OF_LARGE_BLOCKS, told]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return int(done.stdout)

    assert faults("told") * 10 < faults("untold")


GIVEN_BACK = """
import asyncio
from gateway.process import allocator

def resident_mib():
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * 4096 / allocator.MIB

async def after_a_burst():
    allocator.GIVE_BACK_EVERY_S = 0.05
    asyncio.create_task(allocator.give_back_at_intervals())
    blocks = [bytes(range(256)) * 1200 for _ in range(200)]
    last = bytearray(300_000)  # keeps the others from being the end of the heap
    busy = resident_mib()
    blocks.clear()
    kept = resident_mib()
    await asyncio.sleep(0.5)
    print(busy - kept, busy - resident_mib(), len(last))

assert allocator.keep_large_blocks()
asyncio.run(after_a_burst())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's allocator")
def test_what_a_burst_has_left_is_given_back_soon() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_BACK], capture_output=True, check=True, text=True
    )
    at_once, soon, _ = map(float, done.stdout.split())
    assert at_once < 5
    assert soon > 50
