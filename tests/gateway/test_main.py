"""The program's first moment, before it has read anything."""

import subprocess
import sys

INTERRUPTED = """
import runpy, sys, types

class Loading(types.ModuleType):
    def __getattr__(self, name):
        raise KeyboardInterrupt

sys.modules["gateway.start"] = Loading("gateway.start")
sys.argv = ["gateway"]
runpy.run_module("gateway", run_name="__main__")
"""


def test_whoever_interrupts_it_while_it_is_loaded_sees_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "\nAborted!\n")
