"""Work is done where the system gives no more threads."""

import threading
from concurrent.futures import wait

import pytest

from backends.standing_threads import StandingThreads


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_the_threads_that_there_are_do_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, may_end = StandingThreads(3), threading.Event()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    first = threads.submit(may_end.wait, 20)
    second = threads.submit(divmod, 7, 2)
    assert not wait([second], timeout=0.1).done
    may_end.set()
    assert first.result(20)
    assert second.result(20) == (3, 1)


def test_it_grows_once_there_are_threads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, may_end = StandingThreads(3), threading.Event()
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        stuck = [threads.submit(may_end.wait, 20) for _ in range(2)]
    threads.submit(int)  # a thread for it takes what has waited longest
    assert threads.submit(divmod, 7, 2).result(20) == (3, 1)
    may_end.set()
    assert all(each.result(20) for each in stuck)


def test_without_one_there_is_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="thread"):
        StandingThreads(3)
