"""`python -m benchmarks`: measure, print the tables, keep the figures."""

import os
import subprocess
from pathlib import Path

import click

from benchmarks.check import WrongAnswer
from benchmarks.machine import describe
from benchmarks.measure import Plan, measure
from benchmarks.report import as_json, as_markdown, write_between_markers
from benchmarks.servers import Ended, NotStarted
from benchmarks.tools import CACHE, Tools

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


def _names(_: click.Context, __: click.Parameter, value: str) -> frozenset[str]:
    return frozenset(filter(None, value.split(",")))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--install", is_flag=True, help="First get the peers that are missing.")
@click.option(
    "--tools", type=_FOLDER, default=CACHE, show_default="in your cache", help="Where they are."
)
@click.option("--only", callback=_names, default="", help="This work only: W1h,W3.")
@click.option("--peers", callback=_names, default="", help="These peers only: nginx,envoy.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 60), default=2, show_default=True)
@click.option("--server-cpu", default=0, show_default=True, help="The core of every server.")
@click.option("--load-cpu", default=1, show_default=True, help="The core of load and runner.")
@click.option("--json", type=_FILE, help="Write all figures into this file.")
@click.option("--write", type=_FILE, help="Put the tables into this document, between its marks.")
def main(
    *,
    install: bool,
    tools: Path,
    only: frozenset[str],
    peers: frozenset[str],
    rounds: int,
    seconds: int,
    server_cpu: int,
    load_cpu: int,
    json: Path | None,
    write: Path | None,
) -> None:
    """What a request costs in CPU time, here and in other proxies, in the same run."""
    found = Tools(tools.resolve())
    plan = Plan(only, peers, rounds, seconds, server_cpu, load_cpu)
    if not {server_cpu, load_cpu} <= os.sched_getaffinity(0) or server_cpu == load_cpu:
        raise click.UsageError("server and load need a core each, and both must be there")
    try:
        if install:
            found.install()
        results = measure(plan, found, lambda line: click.echo(line, err=True))
    except (FileNotFoundError, NotStarted, Ended, WrongAnswer, subprocess.SubprocessError) as why:
        raise click.ClickException(str(why)) from None
    machine = describe(found)
    text = as_markdown(results, plan, machine)
    click.echo(text)
    if json is not None:
        json.write_bytes(as_json(results, plan, machine))
    if write is not None:
        write_between_markers(write, text)


if __name__ == "__main__":
    main()
