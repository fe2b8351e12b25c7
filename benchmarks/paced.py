"""Load at a fixed rate: many connections, each of which asks at times of its own.

h2load is written in C and leaves the core that it shares with the runner almost to it, so that what
it times is the server in between. A request of a connection that still waits is sent late and timed
from then; with as many connections as here one waits for a few milliseconds in every twenty.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.load import LoadFailed, run
from benchmarks.workloads import Exchange

CONNECTIONS: Final = 128
_SETTLING: Final = 5
"""One in so many answers is not counted: the first ones, while connections are still opened."""


@dataclass(frozen=True)
class Waits:
    """How long answers took, in milliseconds."""

    p50_ms: float
    p99_ms: float
    slowest_ms: float

    @property
    def spread(self) -> float:
        """How often the 50th percentile fits into the 99th."""
        return self.p99_ms / self.p50_ms

    @classmethod
    def of(cls, took_ms: Iterable[float]) -> Self:
        """Percentiles of what was counted.

        >>> Waits.of(range(1, 101))
        Waits(p50_ms=50.5, p99_ms=99, slowest_ms=100)
        """
        ordered = sorted(took_ms)
        return cls(
            p50_ms=statistics.median(ordered),
            p99_ms=ordered[len(ordered) * 99 // 100 - 1],
            slowest_ms=ordered[-1],
        )

    @classmethod
    def median(cls, rounds: Sequence["Waits"]) -> Self:
        """Of each figure by itself."""
        return cls(
            p50_ms=statistics.median([each.p50_ms for each in rounds]),
            p99_ms=statistics.median([each.p99_ms for each in rounds]),
            slowest_ms=statistics.median([each.slowest_ms for each in rounds]),
        )


def paced(
    h2load: Path,
    url: str,
    exchange: Exchange,
    *,
    rate: float,
    seconds: float,
    cpu: int,
    environ: Mapping[str, str],
    log: Path,
) -> Waits:
    """Ask `rate` times a second.

    Args:
        log: where h2load writes what each answer took; overwritten, and the file beside it that
            has the body.

    Raises:
        LoadFailed: h2load failed, or an answer was an error or did not come.
        OSError, subprocess.TimeoutExpired: h2load could not be run, or hung.
    """
    log.unlink(missing_ok=True)
    total = int(rate * seconds)
    body: tuple[str, ...] = ()
    if exchange.body:
        log.with_suffix(".body").write_bytes(exchange.body)
        body = (f"--data={log.with_suffix('.body')}",)
    fields = [part for name, value in exchange.headers for part in ("-H", f"{name}: {value}")]
    arguments = (
        "--h1", f"--clients={CONNECTIONS}", "--max-concurrent-streams=1", f"--requests={total}",
        f"--rps={rate / CONNECTIONS:.3f}", "--rate=1", "--rate-period=1ms", f"--log-file={log}",
        *body, *fields, url + exchange.target,
    )  # fmt: skip
    run(h2load, arguments, cpu=cpu, seconds=seconds, environ=environ)
    took_ms = parse_log(log.read_text(), status=exchange.status)
    if len(took_ms) != total:
        raise LoadFailed(f"{len(took_ms)} of {total} answers came")
    return Waits.of(took_ms[total // _SETTLING :])


def parse_log(text: str, *, status: int) -> list[float]:
    """What each answer took, in milliseconds and in the order of their ends.

    Raises:
        LoadFailed: one had another status, or none.

    >>> parse_log("1700000000000000\\t200\\t1500\\n1700000000000900\\t200\\t700\\n", status=200)
    [1.5, 0.7]
    """
    took_ms = []
    for line in text.splitlines():
        _, said, took_us, *_ = line.split("\t")
        if said != str(status):
            raise LoadFailed(f"an answer had status {said}, not {status}")
        took_ms.append(int(took_us) / 1000)
    return took_ms
