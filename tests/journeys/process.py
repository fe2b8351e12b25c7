"""The program as its user runs it: another process, an env file, signals, its log."""

import asyncio
import os
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

START_S = 30.0
EXIT_S = 30.0

Line = dict[str, Any]


class GatewayProcess:
    """`python -m gateway ...` and everything it has logged.

    Attributes:
        url: the origin that its log names.
        lines: every log line so far, parsed.
        output: what it wrote on standard output so far.
    """

    def __init__(self, process: asyncio.subprocess.Process, env_file: Path) -> None:
        self._process = process
        self._env_file = env_file
        self._news = asyncio.Condition()
        self.url = ""
        self.lines: list[Line] = []
        self._by_event: dict[str, list[Line]] = defaultdict(list)
        self.output = b""

    def write_env(self, **variables: str) -> None:
        """Replace the env file, as an editor does: in one step."""
        draft = self._env_file.with_suffix(".draft")
        draft.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        draft.replace(self._env_file)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)  # send_signal() would reap it, and lose its exit status

    async def event(self, name: str, **fields: object) -> Line:
        """The first log line of this event with these fields, as soon as there is one."""
        seen = 0
        async with asyncio.timeout(START_S), self._news:
            while True:
                lines = self._by_event[name]
                while seen < len(lines):
                    if fields.items() <= lines[seen].items():
                        return lines[seen]
                    seen += 1
                await self._news.wait()

    async def until_it_refuses(self) -> None:
        """Wait until nobody accepts connections any more."""
        async with asyncio.timeout(EXIT_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except ConnectionRefusedError:
                    return
                writer.close()
                await asyncio.sleep(0.02)

    async def exit_status(self) -> int:
        """Wait for the end of the process, whoever else still writes to its log."""
        async with asyncio.timeout(EXIT_S):
            # wait() would also wait until nobody holds the pipes, as a successor does.
            while self._process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return self._process.returncode

    async def read_log(self) -> None:
        """Keep `lines` current until the process ends."""
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            async with self._news:
                try:
                    line = orjson.loads(raw)
                except orjson.JSONDecodeError:  # what is said before there are settings
                    line = {"event": "text", "text": raw.decode(errors="replace")}
                self.lines.append(line)
                self._by_event[line["event"]].append(line)
                self._news.notify_all()

    async def read_output(self) -> None:
        """Keep `output` current until the process ends, unless it goes elsewhere."""
        if self._process.stdout is None:
            return
        async for raw in self._process.stdout:
            self.output += raw


@asynccontextmanager
async def gateway_process(
    folder: Path,
    *arguments: str,
    environ: Mapping[str, str],
    env_file: Mapping[str, str],
    awaited: str | None = "started",
    sockets: Sequence[socket.socket] = (),
    output: IO[bytes] | None = None,
) -> AsyncIterator[GatewayProcess]:
    """Start the program in `folder`, wait until it listens, and see it end.

    Args:
        environ: its process environment; PATH aside, nothing of this one's is passed on.
        env_file: the variables that its env file holds at first.
        sockets: passed on as a service manager passes them.
        awaited: the event to wait for instead, of a program that does not come to listen;
            None: nothing is waited for.
        output: its standard output; None: `GatewayProcess.output` has what it writes.
    """
    path = folder / "gateway.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in env_file.items()))
    repository = str(Path(__file__).parents[2])
    descriptors = [one.fileno() for one in sockets]
    passing = ("-m", "gateway.take_over", ",".join(map(str, descriptors))) if sockets else ()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *passing, "-m", "gateway", *arguments,
        cwd=folder,
        env={
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": repository,
            "GATEWAY_ENV_FILE": str(path),
            "GATEWAY_PORT": "0",
            "GATEWAY_LOG_FORMAT": "json",
            **environ,
        },
        stdout=output or asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
        pass_fds=descriptors,
    )  # fmt: skip
    gateway = GatewayProcess(process, path)
    async with asyncio.TaskGroup() as readers:
        reading = [
            readers.create_task(gateway.read_log()),
            readers.create_task(gateway.read_output()),
        ]
        try:
            if awaited is not None:
                gateway.url = (await gateway.event(awaited)).get("origin", "")
            yield gateway
        finally:
            if process.returncode is None:
                process.kill()
            await _until_nobody_is_left(process, reading, path)


async def _until_nobody_is_left(
    process: asyncio.subprocess.Process, reading: Sequence[asyncio.Task[None]], env_file: Path
) -> None:
    """Wait until its pipes are closed, which everybody has that it started.

    Whoever stays is named, and ended: else the next test would fail for it.
    """
    left: dict[int, str] = {}
    await asyncio.wait(reading, timeout=EXIT_S)
    if not all(each.done() for each in reading):
        left = dict(started_with(env_file))
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.wait(reading, timeout=EXIT_S)
    async with asyncio.timeout(EXIT_S):
        await process.wait()
    assert not left, f"still there after the end of the gateway: {left}"


def started_with(env_file: Path) -> Iterator[tuple[int, str]]:
    """The processes of this gateway, and where each of them stands; only Linux tells."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended since, or somebody else's
            if os.fsencode(f"GATEWAY_ENV_FILE={env_file}") in (each / "environ").read_bytes():
                command = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state = (each / "stat").read_text().rpartition(") ")[2][0]
                yield int(each.name), f"{command}({state} in {(each / 'wchan').read_text()})"
