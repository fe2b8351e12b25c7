"""Starts a server on one core, waits until it listens, and sees it end."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_S: Final = 30.0
STOP_S: Final = 10.0
_POLL_S: Final = 0.002
_LAST_WORDS_BYTES: Final = 500


class NotStarted(Exception):
    """A server ended, or did not listen in time. The message ends with its last words."""


class Ended(Exception):
    """A server that had started is no more. The message ends with its last words."""


@dataclass(frozen=True)
class Launch:
    """How a server is started. The environment is all that it gets, besides PATH."""

    command: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """One that listens on 127.0.0.1:`port`."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def require_alive(self) -> None:
        """Raises Ended, with its last words, when the process is no more."""
        if self.process.poll() is not None:
            raise Ended(_end_of(self.name, self.process, self.log))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(name: str, launch: Launch, *, port: int, cpu: int, folder: Path) -> Iterator[Server]:
    """Run a server in `folder`, on core `cpu` and no other.

    Args:
        port: where it will listen; told in advance, since it is part of its configuration.
        folder: its working directory; what it writes goes to output.log there.

    Raises:
        NotStarted: see there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ("taskset", "--cpu-list", str(cpu), *launch.command),
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), **launch.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its whole tree can be stopped
        )
    try:
        _wait_until_it_listens(name, process, port, log)
        yield Server(name, port, process, log)
    finally:
        _stop(process)


def _wait_until_it_listens(
    name: str, process: subprocess.Popen[bytes], port: int, log: Path
) -> None:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(_POLL_S)
    raise NotStarted(f"{_end_of(name, process, log)} (it did not listen)")


def _end_of(name: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """How it ended; a negative status is the number of the signal that ended it."""
    with log.open("rb") as output:  # it may hold a line for every request
        output.seek(max(0, log.stat().st_size - _LAST_WORDS_BYTES))
        last_words = output.read().decode(errors="replace").strip()
    return f"{name}: exit status {process.poll()}: {last_words}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
            return
