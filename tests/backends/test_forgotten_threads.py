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


class NoThread(threading.Thread):
    """What the system has at its limit of threads, which a test cannot lower for itself alone."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_started_the_next_try_starts_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = ForgottenThreads(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", NoThread)
        with pytest.raises(BlockingIOError):
            threads.submit(divmod, 1, 0)
    assert threads.submit(divmod, 7, 2).result(20) == (3, 1)


def test_where_no_second_thread_can_be_started_the_first_does_it_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = ForgottenThreads(2)
    may_end = threading.Event()
    stuck = threads.submit(may_end.wait, 20)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", NoThread)
        next_in_line = threads.submit(divmod, 7, 2)
    assert not wait([next_in_line], timeout=0.2).done
    may_end.set()
    assert stuck.result(20)
    assert next_in_line.result(20) == (3, 1)
