"""`doctor`: the whole stack looked at once, for people and for a continuous build."""

import asyncio
import sys
from pathlib import Path

import click

from gateway.verbs.output import Environ, as_json, log_errors_only, print_json


@click.command()
@click.option(
    "--app",
    "app_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The Next.js app in front of the gateway.  [default: here, if this is one]",
)
@as_json
@click.pass_obj
def doctor(environ: Environ, *, app_dir: Path | None, json: bool) -> None:
    """Check the whole stack and print a fix for each finding; ends with 1 when one failed."""
    from gateway.doctor.examination import examine
    from gateway.doctor.findings import counts

    log_errors_only()
    findings = asyncio.run(examine(environ, app_dir=app_dir))
    found = counts(findings)
    if json:
        print_json(
            {
                "ok": not found["failed"],
                "counts": found,
                "findings": [finding.as_json() for finding in findings],
            }
        )
    else:
        for finding in findings:
            click.echo(finding.lines())
        click.echo(", ".join(f"{number} {level}" for level, number in found.items()))
    sys.exit(1 if found["failed"] else 0)
