"""Threads that may be stuck for ever: bounded in number, and waited for by nobody."""

import subprocess
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from backends.forgotten_threads import ForgottenThreads


def test_the_program_ends_while_a_thread_is_stuck() -> None:
    stuck = (
        "import threading; from backends.forgotten_threads import ForgottenThreads;"
        "ForgottenThreads(1).submit(threading.Event().wait)"
    )
    subprocess.run(
        [sys.executable, "-c", stuck],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=20,  # else it never would
        check=True,
    )


def test_what_finds_all_threads_stuck_waits_in_line_and_is_done_then() -> None:
    threads = ForgottenThreads(2)
    may_end = threading.Event()
    stuck = [threads.submit(may_end.wait, 20) for _ in range(2)]
    given_up, last = threads.submit(divmod, 7, 2), threads.submit(divmod, 9, 2)
    assert given_up.cancel()
    assert not wait([last], timeout=0.2).done
    may_end.set()
    assert last.result(20) == (4, 1)
    assert all(each.result(20) for each in stuck)
    assert given_up.cancelled()


def test_a_thread_outlives_what_failed_in_it() -> None:
    threads = ForgottenThreads(1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(20)
    assert threads.submit(divmod, 7, 2).result(20) == (3, 1)
