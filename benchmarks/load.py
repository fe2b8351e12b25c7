"""One burst of load: wrk asks the same thing over and over, on a core of its own."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.workloads import Exchange

_GRACE_S: Final = 30.0

# wrk sends one prepared request as long as the script defines no request().
_REPORT: Final = """
done = function(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests":%d,"bytes":%d,"seconds":%f,"errors":%d,"p50_ms":%f,"p99_ms":%f}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class LoadFailed(Exception):
    """The burst says nothing about the server: not every answer was the right one."""


@dataclass(frozen=True)
class Burst:
    """What wrk counted."""

    requests: int
    bytes: int
    seconds: float
    errors: int  # refused, broken or late connections, and answers of 400 and above
    p50_ms: float
    p99_ms: float


def write_script(exchange: Exchange, path: Path) -> None:
    """Put one request into the form that wrk reads."""
    lines = [f"wrk.method = {_lua(exchange.method)}"]
    if exchange.body:
        lines.append(f"wrk.body = {_lua(exchange.body.decode())}")
    lines += [f"wrk.headers[ {_lua(name)} ] = {_lua(value)}" for name, value in exchange.headers]
    path.write_text("\n".join(lines) + _REPORT)


def burst(
    wrk: Path,
    url: str,
    exchange: Exchange,
    *,
    script: Path,
    connections: int,
    cpu: int,
    seconds: int,
    environ: Mapping[str, str],
) -> Burst:
    """Load `url` for so long.

    Raises:
        LoadFailed: wrk or an answer was an error, or fewer bytes came than the answers have.
        OSError, subprocess.TimeoutExpired: wrk could not be run, or hung.
    """
    arguments = (
        "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
        "--timeout", "10s", "--script", str(script), url + exchange.target,
    )  # fmt: skip
    counted = parse_report(run(wrk, arguments, cpu=cpu, seconds=seconds, environ=environ))
    if counted.errors or not counted.requests:
        raise LoadFailed(f"{counted.errors} errors in {counted.requests} answers")
    if counted.bytes < counted.requests * len(exchange.answer):
        raise LoadFailed("answers were shorter than the right one")
    return counted


def run(
    program: Path,
    arguments: Sequence[str],
    *,
    cpu: int,
    seconds: float,
    environ: Mapping[str, str],
) -> str:
    """What a load generator says after so many seconds on a core of its own.

    Raises:
        LoadFailed: it says that it failed.
        OSError, subprocess.TimeoutExpired: it could not be run, or hung.
    """
    done = subprocess.run(
        ("taskset", "--cpu-list", str(cpu), str(program), *arguments),
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _GRACE_S,
    )
    if done.returncode:
        said = done.stderr.strip()[-200:]
        raise LoadFailed(f"{program.name} ended with {done.returncode}: {said}")
    return done.stdout


def parse_report(output: str) -> Burst:
    """Read what the script wrote after wrk's own report.

    Raises:
        ValueError: it is not there.
    """
    lines = output.strip().splitlines()
    if not lines:
        raise ValueError("wrk wrote nothing")
    return Burst(**json.loads(lines[-1]))


def _lua(text: str) -> str:
    if "]==]" in text:
        raise ValueError("this text would end the Lua string early")
    return f"[==[{text}]==]"
