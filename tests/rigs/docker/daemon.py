"""`dockerd` beside everything else, with its own sockets, data and addresses; restartable."""

import ipaddress
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.rigs.docker.commands import EngineUnavailable, run

ASK_S: Final = 10.0
_START_S: Final = 60.0
_STOP_S: Final = 60.0
_RETRY_S: Final = 0.1


def server_version(environ: Mapping[str, str]) -> str:
    """What the engine that `environ` names calls itself. Raises EngineUnavailable."""
    return run(
        "docker", "version", "--format", "{{.Server.Version}}", environ=environ, timeout_s=ASK_S
    ).strip()


class Daemon:
    """One engine's data, and the process that serves it while it runs. Blocking.

    Args:
        home: everything that it writes is below this folder.
        environ: with which it is started, and reached.
        bridge: the containers' default bridge, which exists.
        network: where it may take networks for compose projects.
    """

    def __init__(
        self, home: Path, environ: Mapping[str, str], bridge: str, network: ipaddress.IPv4Network
    ) -> None:
        self._home = home
        self._environ = environ
        self._bridge = bridge
        self._network = network
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, live_restore: bool = False) -> str:
        """Return its version as soon as it answers.

        Args:
            live_restore: its containers live on while it is stopped the next time.

        Raises:
            EngineUnavailable: it ended, or did not answer in time.
        """
        home = self._home
        options = ["--live-restore"] if live_restore else []
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    f"--data-root={home}/data", f"--exec-root={home}/exec",
                    f"--pidfile={home}/pid", f"--host=unix://{home}/docker.sock",
                    f"--bridge={self._bridge}",
                    f"--default-address-pool=base={self._network},size=24",
                    "--iptables=false", "--ip6tables=false", "--ip-masq=false",
                    "--ip-forward=false", "--userland-proxy=true", *options,
                ],
                env=self._environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,  # a Ctrl-C is for the tests, which stop it in order
            )  # fmt: skip
        return self._wait_until_it_answers(self._process)

    def stop(self) -> None:
        """Return when the process has ended; its containers end before, unless they live on."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """Stop it for good, and leave nothing of its containers and networks behind."""
        with suppress(EngineUnavailable):  # it may be gone already
            self._remove_everything()
        self.stop()
        # What it mounts over itself: the second while it was to let its containers live on.
        for mounted in ("exec/netns/default", "data"):
            subprocess.run(["umount", self._home / mounted], capture_output=True, check=False)

    @property
    def _log(self) -> Path:
        return self._home / "dockerd.log"

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                return server_version(self._environ)
            except EngineUnavailable:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = self._log.read_text(errors="replace")[-2000:]
                    raise EngineUnavailable(f"dockerd did not start: {said}") from None
                time.sleep(_RETRY_S)

    def _remove_everything(self) -> None:
        """Containers and networks: the latter would outlive the engine as bridges of the host."""
        environ = self._environ
        containers = run("docker", "ps", "--all", "--quiet", environ=environ, timeout_s=ASK_S)
        if containers:
            run("docker", "rm", "--force", *containers.split(), environ=environ, timeout_s=_STOP_S)
        run("docker", "network", "prune", "--force", environ=environ, timeout_s=_STOP_S)
