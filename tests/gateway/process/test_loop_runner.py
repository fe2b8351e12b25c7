"""A process ends in order at the limit of threads."""

import asyncio
import threading

import pytest

from gateway.process.loop_runner import loop_runner


def test_a_loop_ends_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with loop_runner() as runner:
        loop = runner.get_loop()
        assert runner.run(asyncio.to_thread(divmod, 7, 2)) == (3, 1)
        monkeypatch.setattr(threading.Thread, "start", refuse)
    assert loop.is_closed()
