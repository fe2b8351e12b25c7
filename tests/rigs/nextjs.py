"""The example app as its user runs it: installed by npm, served by Next.js.

    with serving(folder, gateway_port=8787) as app:
        ...  # talk to app.url; whatever listens on the gateway's port is its gateway

Next keeps the gateway's address for as long as it runs, so a test puts its own gateway on that
port. What npm installs is kept between runs, under the name of the lock file's hash.
"""

import base64
import fcntl
import hashlib
import hmac
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "nextjs"
INSTALL_S: Final = 300
BUILD_S: Final = 180
START_S: Final = 60
STOP_S: Final = 10

PROXY_KEY: Final = "a-proxy-key-for-tests"
SESSION_SECRET: Final = "a-session-secret-for-tests"
TENANT: Final = "dev"

_MADE_LATER: Final = ("node_modules", ".next", "next-env.d.ts")


@dataclass(frozen=True, slots=True)
class NextApp:
    """The running app."""

    url: str
    gateway_port: int

    @property
    def session_cookie(self) -> str:
        """What the browser of somebody who is signed in holds as `session`."""
        digest = hmac.digest(SESSION_SECRET.encode(), b"ada", "sha256")
        return f"ada.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@contextmanager
def serving(
    folder: Path, *, gateway_port: int, mode: Literal["dev", "start"] = "dev"
) -> Iterator[NextApp]:
    """Serve a copy of the app out of `folder`, which must not exist yet.

    Raises:
        RuntimeError: a step failed or took too long; the message ends with what it wrote.
    """
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*_MADE_LATER))
    # Hard links: a copy of a third of a gigabyte for nothing; links from outside confuse Next.
    shutil.copytree(_node_modules(), folder / "node_modules", symlinks=True, copy_function=os.link)
    environ = _environ(gateway_port)
    if mode == "start":
        _run("build", "node_modules/.bin/next", "build", cwd=folder, environ=environ, limit=BUILD_S)
    port = free_port()
    process = subprocess.Popen(
        ["node_modules/.bin/next", mode, "--hostname", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Next starts processes of its own: they end as one group
    )
    with process:
        try:
            _wait_until_ready(process)
            # A pipe that nobody reads would stop Next once it is full.
            reader = threading.Thread(target=_discard, args=(process.stdout,))
            reader.start()
            yield NextApp(f"http://127.0.0.1:{port}", gateway_port)
        finally:
            _stop(process)
        reader.join(STOP_S)


def free_port() -> int:
    """A port that nothing listens on now.

    Below those that the system hands out by itself: a gateway comes back to its port again and
    again, and some connection's near end may be there meanwhile.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no free port")


def _node_modules() -> Path:
    lock_file = EXAMPLE / "package-lock.json"
    version = hashlib.sha256(lock_file.read_bytes()).hexdigest()[:16]
    root = Path(tempfile.gettempdir()) / f"extension-gateway-nextjs-{os.getuid()}-{version}"
    root.mkdir(mode=0o700, exist_ok=True)
    installed = root / "installed"
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may install at once
        if not installed.exists():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(EXAMPLE / name, root / name)
            _run("npm ci", "npm", "ci", cwd=root, environ=_environ(0), limit=INSTALL_S)
            installed.touch()
    return root / "node_modules"


def _environ(gateway_port: int) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "NEXT_TELEMETRY_DISABLED": "1",
        "GATEWAY_URL": f"http://127.0.0.1:{gateway_port}",
        "GATEWAY_PROXY_KEY": PROXY_KEY,
        "SESSION_SECRET": SESSION_SECRET,
    }


def _run(what: str, *command: str, cwd: Path, environ: dict[str, str], limit: float) -> None:
    try:
        subprocess.run(
            command, cwd=cwd, env=environ, check=True, timeout=limit, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{what} failed: {error.stdout[-2000:]}{error.stderr[-2000:]}") from None


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    written: list[bytes] = []
    watchdog = threading.Timer(START_S, _signal, (process, signal.SIGKILL))
    watchdog.start()
    try:
        for line in process.stdout:
            written.append(line)
            if b"Ready in" in line:
                break
        else:
            raise RuntimeError(f"Next did not start: {b''.join(written).decode()[-2000:]}")
    finally:
        watchdog.cancel()


def _discard(output: IO[bytes]) -> None:
    for _ in output:
        pass


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal(process, signal.SIGKILL)  # also for children that outlive their parent
        process.wait(STOP_S)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
