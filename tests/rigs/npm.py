"""What npm installs for a test, kept between runs under the name of the lock file's hash."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

INSTALL_S: Final = 300


def node_modules(source: Path) -> Path:
    """The folder with what `source`, which has a lock file, asks for.

    Raises:
        RuntimeError: npm failed; the message ends with what it wrote.
    """
    version = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:16]
    name = f"extension-gateway-{source.name}-{os.getuid()}-{version}"
    root = Path(tempfile.gettempdir()) / name
    root.mkdir(mode=0o700, exist_ok=True)
    installed = root / "installed"
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may install at once
        if not installed.exists():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(source / name, root / name)
            run("npm ci", "npm", "ci", cwd=root, environ=npm_environ(), limit=INSTALL_S)
            installed.touch()
    return root / "node_modules"


def npm_environ() -> dict[str, str]:
    """What programs of Node.js need of this process's environment."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def run(what: str, *command: str, cwd: Path, environ: Mapping[str, str], limit: float) -> None:
    """Run a program to its end, which must come within `limit` seconds.

    Raises:
        RuntimeError: it failed.
    """
    try:
        subprocess.run(
            command, cwd=cwd, env=environ, check=True, timeout=limit, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{what} failed: {error.stdout[-2000:]}{error.stderr[-2000:]}") from None
