"""Runs every check at once, each with a deadline, and keeps their order in the report."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from backends.forgotten_threads import ForgottenThreads
from gateway.doctor import (
    asset_folder,
    bundle_store,
    callers,
    containers,
    identity,
    listener,
    next_app,
    process,
    runner,
    runner_token,
    serving,
    tls_files,
    variables,
)
from gateway.doctor.case import Case, Check
from gateway.doctor.findings import Finding, failed
from gateway.settings import Settings, SettingsError, load

LOAD_S: Final = 2.0
CHECK_S: Final = 7.0
_THREADS: Final = 64  # more than all checks together ask for

CHECKS: Final[Mapping[str, Check]] = {
    "settings": variables.check,
    "callers": callers.check,
    "identity": identity.check,
    "process": process.check,
    "port": listener.check,
    "tls": tls_files.check,
    "next": next_app.check,
    "bundles": bundle_store.check,
    "cache": asset_folder.check,
    "docker": containers.check,
    "serving": serving.check,
    "runner": runner.check,
    "token": runner_token.check,
}


async def examine(environ: Mapping[str, str], *, app_dir: Path | None = None) -> list[Finding]:
    """Everything that can be found out, within ten seconds. Changes nothing.

    Args:
        environ: the process environment that a gateway would be started with.
        app_dir: the Next.js app in front; None looks for one in the working folder.
    """
    asyncio.get_running_loop().set_default_executor(ForgottenThreads(_THREADS))
    try:
        settings = await _load(environ)
    except SettingsError as wrong:
        return [
            failed("settings", bad.variable, bad.problem, bad.fix) for bad in wrong.problems
        ] + [_skipped()]
    except TimeoutError:
        why = "the disk that holds the settings does not answer"
        return [failed("settings", "the settings were not read in time", why, "look at the disk")]
    case = Case(settings=settings, environ=environ, app_dir=app_dir)
    results = await asyncio.gather(
        *(_within_deadline(name, check, case) for name, check in CHECKS.items())
    )
    return [finding for result in results for finding in result]


async def _load(environ: Mapping[str, str]) -> Settings:
    async with asyncio.timeout(LOAD_S):
        return await asyncio.to_thread(load, environ)


def _skipped() -> Finding:
    return failed(
        "settings",
        "nothing else was checked",
        "a gateway with these settings does not start",
        "mend the settings first, then run doctor again",
    )


async def _within_deadline(name: str, check: Check, case: Case) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(CHECK_S):
            return await check(case)
    except TimeoutError:
        return [
            failed(
                name,
                f"no result within {CHECK_S:g} s",
                "something that was asked does not answer",
                "see the other findings, then try again",
            )
        ]
    except Exception as defect:  # noqa: BLE001  one broken check must not hide the others
        return [
            failed(
                name,
                f"the check itself broke ({type(defect).__name__})",
                "this is a defect of doctor",
                "report it, with this line",
            )
        ]
