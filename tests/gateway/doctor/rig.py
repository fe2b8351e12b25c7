"""A doctor's visit, and a way to look for one line in the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.doctor.examination import examine
from gateway.doctor.findings import Finding, Level


async def visit(**environ: str) -> list[Finding]:
    """Examine a gateway with these variables; its port is any, unless one is given."""
    return await _examined(environ, None)


async def visit_app(app_dir: Path, **environ: str) -> list[Finding]:
    """The same, with this Next.js app in front."""
    return await _examined(environ, app_dir)


async def _examined(environ: Mapping[str, str], app_dir: Path | None) -> list[Finding]:
    findings = await examine({"GATEWAY_PORT": "0", **environ}, app_dir=app_dir)
    for finding in findings:
        assert (finding.level is Level.OK) == (not finding.fix), finding
        assert "\n" not in finding.what + finding.why + finding.fix
    return findings


def of(findings: Sequence[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def the_one(findings: Sequence[Finding], check: str, words: str) -> Finding:
    """The finding of that family that says these words."""
    (found,) = [one for one in of(findings, check) if words in one.what]
    return found
