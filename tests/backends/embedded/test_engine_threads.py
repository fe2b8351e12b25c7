"""The engine takes no threads beside its clock: without one, its compiler ends the process."""

import subprocess
import sys

import pytest

PROBED = """
import os
from backends.embedded.engine import WasmEngine
engine = WasmEngine(max_guests=1)
before = os.listdir("/proc/self/task")
engine.probe()
assert os.listdir("/proc/self/task") == before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_probe_starts_no_thread() -> None:
    subprocess.run([sys.executable, "-c", PROBED], check=True, timeout=60)
