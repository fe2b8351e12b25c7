"""Lines leave whole, in order, and never at the cost of whoever wrote them."""

import os
import resource
import select
import socket
import threading
import tracemalloc
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from gateway.logs.batch_writer import BatchWriter
from gateway.logs.output import LineOutput


def a_terminal() -> tuple[int, int]:
    """One cannot be asked to refuse what it does not take at once."""
    read, write = os.openpty()
    tty.setraw(write)
    return read, write


def a_socket() -> tuple[int, int]:
    read, write = socket.socketpair()
    return read.detach(), write.detach()


KINDS: dict[str, Callable[[], tuple[int, int]]] = {
    "pipe": os.pipe,
    "socket": a_socket,
    "terminal": a_terminal,
}


@contextmanager
def opened(kind: str) -> Iterator[tuple[int, int]]:
    read, write = KINDS[kind]()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


@pytest.fixture(params=KINDS)
def pipe(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Two ends, whatever is between them."""
    with opened(request.param) as ends:
        yield ends


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    with opened("terminal") as ends:
        yield ends


def test_lines_of_many_threads_come_out_whole_and_none_is_lost(pipe: tuple[int, int]) -> None:
    read, write = pipe
    writer = BatchWriter(write, interval_s=0.01)
    said = bytearray()

    def listen() -> None:
        while not said.endswith(b"end\n"):
            said.extend(os.read(read, 65536))

    listener = threading.Thread(target=listen)
    listener.start()

    def speak(name: int) -> None:
        for n in range(2000):
            writer.write(b"%d-%d\n" % (name, n))

    speakers = [threading.Thread(target=speak, args=(name,)) for name in range(4)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    writer.write_now(b"end\n")
    writer.close()
    listener.join(10)
    lines = bytes(said).split(b"\n")
    assert writer.dropped == 0
    for name in range(4):
        own = [line for line in lines if line.startswith(b"%d-" % name)]
        assert own == [b"%d-%d" % (name, n) for n in range(2000)]


def test_a_line_alone_is_written_after_the_interval(pipe: tuple[int, int]) -> None:
    read, write = pipe
    writer = BatchWriter(write, interval_s=0.01)
    writer.write(b"alone\n")
    assert os.read(read, 100) == b"alone\n"
    writer.write(b"again\n")
    assert os.read(read, 100) == b"again\n"
    writer.close()


def test_a_reader_that_stops_reading_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    read, write = pipe
    writer = BatchWriter(write, interval_s=0.001, max_waiting_bytes=256 * 1024)
    line = b"x" * 1023 + b"\n"
    for _ in range(2000):  # far more than the pipe and the queue hold; this must not block
        writer.write(line)
    assert 0 < writer.dropped < 2000
    kept = (2000 - writer.dropped) * len(line)
    got = 0
    while got < kept:
        got += len(os.read(read, 1024 * 1024))
    writer.close()
    assert got == kept


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_went_away_is_no_failure_and_what_it_missed_is_counted(kind: str) -> None:
    read, write = KINDS[kind]()
    os.close(read)
    writer = BatchWriter(write, interval_s=0.001)
    for _ in range(100):
        writer.write_now(b"to nobody\n")
        writer.write(b"and\nagain\n")
    writer.close()
    os.close(write)
    assert writer.dropped == 300


def test_lines_for_which_the_disk_has_no_room_are_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = BatchWriter(full)
    writer.write(b"one\ntwo\n")
    writer.close()
    os.close(full)
    assert writer.dropped == 2


def test_of_lines_that_break_off_those_count_that_did_not_leave(tmp_path: Path) -> None:
    file, limit = tmp_path / "log", 1024 * 1024
    file.write_bytes(b"x" * (limit - 6))  # the longest that a file may be is a few bytes longer
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    writer = BatchWriter(descriptor)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        writer.write(b"one\ntwo\nthree\n")
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        os.close(descriptor)
    assert file.read_bytes().endswith(b"xone\ntw")
    assert writer.dropped == 2


def test_a_line_that_broke_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    file, limit = tmp_path / "log", 1024 * 1024
    file.write_bytes(b"x" * (limit - 6))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    output = LineOutput(descriptor)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        assert output.write(b"one\ntwo\nthree\n") == 6
        assert output.write(b"lost\n") == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert output.write(b"four\n") == 5
    assert output.write(b"five\n") == 5
    os.close(descriptor)
    assert file.read_bytes().endswith(b"xone\ntw\nfour\nfive\n")


def test_closing_writes_what_waits(pipe: tuple[int, int]) -> None:
    read, write = pipe
    writer = BatchWriter(write, interval_s=60)
    writer.write(b"last words\n")
    writer.close()
    assert os.read(read, 100) == b"last words\n"


def test_waiting_lines_take_up_what_they_are_long() -> None:
    read, write = os.pipe()
    writer = BatchWriter(write, max_waiting_bytes=1024 * 1024)
    line = {"name": "x" * 400}
    tracemalloc.start()
    while not writer.dropped:
        # Its result sits in a buffer of kilobytes, however short it is.
        writer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    os.close(read)
    writer.close()
    os.close(write)
    assert taken < 1.5 * 1024 * 1024


def test_a_rare_line_is_written_at_once_and_more_of_them_wait_for_each_other(
    terminal: tuple[int, int],
) -> None:
    read, write = terminal
    writer = BatchWriter(write, interval_s=1000)  # longer than a test may take
    writer.write_now(b"rare\n")
    assert os.read(read, 100) == b"rare\n"
    for line in (b"not\n", b"so\n", b"rare\n"):
        writer.write_now(line)
    assert select.select([read], [], [], 0.1)[0] == []
    writer.close()
    assert os.read(read, 100) == b"not\nso\nrare\n"


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_keeps_up_gets_lines_from_the_writers_own_thread(kind: str) -> None:
    with opened(kind) as (read, write):
        writer = BatchWriter(write, interval_s=1000)
        for number in range(3):
            writer.write(b"%d\n" % number)
            assert os.read(read, 100) == b"%d\n" % number
        writer.close()


@pytest.mark.parametrize("is_blocking", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_waits_goes_first_when_there_is_room_again(kind: str, is_blocking: bool) -> None:
    lines = [b"%03d" % number * 300 + b"\n" for number in range(600)]
    with opened(kind) as (read, write):
        os.set_blocking(write, is_blocking)  # whoever shares it decides that
        writer = BatchWriter(write, interval_s=0.001)
        for line in lines[:400]:  # more than fits between them
            writer.write(line)
        got = os.read(read, 100_000)
        for line in lines[400:]:
            writer.write(line)
        while len(got) < sum(map(len, lines)):
            got += os.read(read, 100_000)
        writer.close()
    assert got.splitlines(keepends=True) == lines


def test_lines_of_several_processes_in_one_pipe_are_whole_however_slowly_it_is_read() -> None:
    with opened("pipe") as (read, write):
        writers = [BatchWriter(write, interval_s=0.001) for _ in range(4)]  # as of four processes
        lines = [b"%d" % number * 300 + b"\n" for number in range(4)]

        def speak(number: int) -> None:
            for _ in range(20):
                writers[number].write(lines[number] * 50)

        speakers = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
        for speaker in speakers:
            speaker.start()
        got = bytearray()
        while got.count(b"\n") < 4 * 20 * 50:
            got += os.read(read, 5000)
        for speaker in speakers:
            speaker.join()
        for writer in writers:
            writer.close()
        assert {line + b"\n" for line in bytes(got).splitlines()} == set(lines)


def test_a_file_gets_all_lines_in_their_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = BatchWriter(file.fileno())
        for number in range(10_000):
            writer.write(b"%d\n" % number)
        writer.close()
    assert (tmp_path / "log").read_bytes() == b"".join(b"%d\n" % n for n in range(10_000))


def test_what_is_said_without_a_thread_to_write_it_is_written_at_the_end(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = terminal
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    writer = BatchWriter(write)
    writer.write(b"first\n")
    writer.write(b"second\n")
    writer.close()
    assert os.read(read, 100) == b"first\nsecond\n"


def test_a_line_starts_the_thread_that_could_not_be_started(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = terminal
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", no_thread)
        writer = BatchWriter(write)
        writer.write(b"first\n")
    writer.write_now(b"second\n")
    assert os.read(read, 100) == b"first\nsecond\n"
    writer.close()


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
