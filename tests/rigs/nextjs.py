"""The example app as its user runs it: installed by npm, served by Next.js.

    with serving(folder, gateway_port=8787) as app:
        ...  # talk to app.url; whatever listens on the gateway's port is its gateway

Next keeps the gateway's address for as long as it runs, so a test puts its own gateway on that
port. What npm installs is kept between runs, under the name of the lock file's hash.
"""

import base64
import hmac
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from gateway.verbs.certificates import Certificates
from tests.rigs.npm import node_modules, npm_environ, run

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "nextjs"
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
    folder: Path
    """The app's own copy: an edit here is an edit of the app that runs."""
    tls: Certificates | None = None

    def trusts(self) -> ssl.SSLContext | bool:
        """What a client of this app and of its gateway verifies with."""
        return True if self.tls is None else ssl.create_default_context(cafile=self.tls.authority)

    @property
    def session_cookie(self) -> str:
        """What the browser of somebody who is signed in holds as `session`."""
        digest = hmac.digest(SESSION_SECRET.encode(), b"ada", "sha256")
        return f"ada.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@contextmanager
def serving(
    folder: Path,
    *,
    gateway_port: int,
    mode: Literal["dev", "start"] = "dev",
    tls: Certificates | None = None,
) -> Iterator[NextApp]:
    """Serve a copy of the app out of `folder`, which must not exist yet.

    Args:
        tls: speak HTTPS with these, and expect the gateway to. By "dev" only: `next start`
            leaves that to whatever is in front of it.

    Raises:
        RuntimeError: a step failed or took too long; the message ends with what it wrote.
    """
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*_MADE_LATER))
    # Hard links: a copy of a third of a gigabyte for nothing; links from outside confuse Next.
    shutil.copytree(
        node_modules(EXAMPLE), folder / "node_modules", symlinks=True, copy_function=os.link
    )
    environ = _environ(gateway_port, tls)
    if mode == "start":
        run("build", "node_modules/.bin/next", "build", cwd=folder, environ=environ, limit=BUILD_S)
    port = free_port()
    process = subprocess.Popen(
        [
            *("node_modules/.bin/next", mode, "--hostname", "127.0.0.1", "--port", str(port)),
            *_https(tls),
        ],
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
            scheme = "http" if tls is None else "https"
            yield NextApp(f"{scheme}://127.0.0.1:{port}", gateway_port, folder, tls)
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


def _environ(gateway_port: int, tls: Certificates | None) -> dict[str, str]:
    told = {
        **npm_environ(),
        "NEXT_TELEMETRY_DISABLED": "1",
        "GATEWAY_URL": f"http://127.0.0.1:{gateway_port}",
        "GATEWAY_PROXY_KEY": PROXY_KEY,
        "SESSION_SECRET": SESSION_SECRET,
    }
    if tls is None:
        return told
    return told | {
        "GATEWAY_URL": f"https://127.0.0.1:{gateway_port}",
        "NODE_EXTRA_CA_CERTS": str(tls.authority),
    }


def _https(tls: Certificates | None) -> tuple[str, ...]:
    if tls is None:
        return ()
    return (
        "--experimental-https",
        *("--experimental-https-key", str(tls.server_key)),
        *("--experimental-https-cert", str(tls.server)),
        *("--experimental-https-ca", str(tls.authority)),
    )


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
