"""`python -m benchmarks.instructions`: does a request execute more instructions than it did?

Seconds on a busy machine say little; a count of executed instructions hardly moves. This
guard compares the counts with those in instructions.json and fails when one has grown. It
sees what this process executes, not what the kernel does for it. Needs valgrind.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click
import orjson

from benchmarks.hot_path import FROM_CACHE, WORK

RECORD: Final = Path(__file__).with_name("instructions.json")
TOLERANCE_PERCENT: Final = 10

_TIMES: Final = 300
_TIMEOUT_S: Final = 600.0
_COUNTED = re.compile(r"^==\d+== Collected : (\d+)$", re.MULTILINE)
_LIBRARIES: Final = ("aiohttp", "httptools", "multidict", "orjson", "structlog", "yarl")


@dataclass(frozen=True)
class Growth:
    """One kind of work that has become dearer than the tolerance allows."""

    work: str
    before: int
    now: int

    def __str__(self) -> str:
        percent = 100 * (self.now / self.before - 1)
        return (
            f"{self.work}: {self.before} instructions a request, now {self.now} ({percent:+.1f} %)"
        )


def grown(
    recorded: Mapping[str, int], counted: Mapping[str, int], *, tolerance_percent: float
) -> list[Growth]:
    """What has grown by more than the tolerance. Work that only one of them has is no growth.

    >>> [str(one) for one in grown({"W3": 100, "W5": 100}, {"W3": 120, "W5": 109},
    ...                            tolerance_percent=10)]
    ['W3: 100 instructions a request, now 120 (+20.0 %)']
    """
    return [
        Growth(work, before, counted[work])
        for work, before in recorded.items()
        if work in counted and counted[work] > before * (1 + tolerance_percent / 100)
    ]


def parse_count(output: str) -> int:
    """The number of instructions that callgrind reports.

    Raises:
        ValueError: it reports none.
    """
    found = _COUNTED.search(output)
    if found is None:
        raise ValueError(f"callgrind reported no count: {output.strip()[-300:]}")
    return int(found[1])


def per_request(works: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Instructions of one request of each: what a run needs more than one that only warms up.

    Raises:
        click.ClickException: a run failed.
    """
    warm_ups: dict[bool, int] = {}
    for work in works:
        cached = work in FROM_CACHE
        if cached not in warm_ups:
            warm_ups[cached] = _run(work, 0)
        yield work, (_run(work, _TIMES) - warm_ups[cached]) // _TIMES


def surroundings() -> dict[str, str]:
    """What else changes counts: they can be compared only where all of this is the same."""
    facts = {"python": platform.python_version(), "machine": platform.machine()}
    return facts | {name: version(name) for name in _LIBRARIES}


def _run(work: str, times: int) -> int:
    command = (
        "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
        sys.executable, "-m", "benchmarks.hot_path", work, str(times),
    )  # fmt: skip
    # Without a fixed seed the order of sets, and with it the count, changes from run to run.
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )
    if done.returncode:
        raise click.ClickException(f"{work}: {done.stderr.strip()[-500:]}")
    return parse_count(done.stderr)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default=",".join(WORK), show_default=True, help="Which work to count.")
@click.option("--record", is_flag=True, help="Keep these counts as those to compare with.")
def main(*, only: str, record: bool) -> None:
    """Count the instructions of a request, and fail when they have grown by over 10 %."""
    wanted = only.split(",")
    if not set(wanted) <= set(WORK):
        raise click.UsageError(f"work is {', '.join(WORK)}")
    counted = {}
    for work, count in per_request(wanted):
        counted[work] = count
        click.echo(f"{work}: {count} instructions a request")
    if record:
        RECORD.write_bytes(
            orjson.dumps(
                {"surroundings": surroundings(), "instructions": counted},
                option=orjson.OPT_INDENT_2,
            )
            + b"\n"
        )
        return
    recorded = orjson.loads(RECORD.read_bytes()) if RECORD.exists() else {}
    if recorded.get("surroundings") != surroundings():
        click.echo("nothing to compare with: the record is of other versions, or there is none")
        return
    worse = grown(recorded["instructions"], counted, tolerance_percent=TOLERANCE_PERCENT)
    for one in worse:
        click.echo(str(one), err=True)
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
