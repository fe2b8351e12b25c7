"""Running programs that must succeed, and soon."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


class EngineUnavailable(Exception):
    """Why no Docker engine can be had on this machine."""


def run(
    *command: str | Path,
    timeout_s: float,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """The standard output of a program; `environ` None is this process's own.

    Raises:
        EngineUnavailable: it is missing, failed, or took longer than `timeout_s`; with the end
            of what it wrote on standard error.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            env=environ,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise EngineUnavailable(f"there is no program {name}") from None
    except subprocess.TimeoutExpired:
        raise EngineUnavailable(f"{name} took more than {timeout_s:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise EngineUnavailable(f"{name} ended with {done.returncode}: {said}")
    return done.stdout
