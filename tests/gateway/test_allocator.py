"""The allocator is told once, and only one that understands."""

import platform
import subprocess
import sys

import pytest

FAULTS_OF_LARGE_BLOCKS = """
import resource, sys
from gateway.allocator import keep_large_blocks
if sys.argv[1] == "told":
    assert keep_large_blocks()
bytearray(300_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    bytearray(300_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's allocator")
def test_large_blocks_are_kept_instead_of_faulted_in_anew() -> None:
    def faults(told: str) -> int:
        command = [sys.executable, "-c", FAULTS_OF_LARGE_BLOCKS, told]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return int(done.stdout)

    assert faults("told") * 10 < faults("untold")
