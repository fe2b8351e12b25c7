"""The local stack as a newcomer has it: a fresh copy of the sources, and `scripts/dev`."""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.rigs.docker.commands import run

ROOT: Final = Path(__file__).parent.parent.parent
HELLO: Final = "/api/ext/example.hello/hello"
RUNNER: Final = "extension-runner"
USER: Final = 10001  # who the containers are when root starts them

_UP_S: Final = 400.0  # the first build downloads the dependencies
_COMMAND_S: Final = 90.0


def copy_sources(target: Path) -> None:
    """What a clone of the working tree would have: tracked files, and new ones not ignored."""
    listed = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard",
        cwd=ROOT, timeout_s=_COMMAND_S,
    )  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():  # a file that is deleted but not yet committed is listed, too
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Stack:
    """One copy of the sources, and the containers that it describes.

    Attributes:
        folder: the copy.
        url: the gateway's origin.
        up_printed: what the first `scripts/dev up` wrote on standard output.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], *, project: str) -> None:
        self.folder = folder
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environ = {
            **environ,
            "COMPOSE_PROJECT_NAME": project,
            "STACK_IMAGE": f"{project}:test",
            "GATEWAY_PORT": str(port),
            "STACK_RUNNER_PORT": str(free_port()),
        }
        self.up_printed = ""

    @contextmanager
    def runners(self, *, compose_files: Sequence[Path] = ()) -> Iterator["Stack"]:
        """Another project of the same copy, image and .env, for `compose("up", ...)` of RUNNER.

        The engine chooses its ports, so there may be several.

        Args:
            compose_files: laid over compose.yaml, in this order.
        """
        other = Stack(
            self.folder,
            {
                **self.environ,
                "COMPOSE_FILE": os.pathsep.join(map(str, ("compose.yaml", *compose_files))),
            },
            project=f"gateway-test-{secrets.token_hex(4)}",
        )
        other.environ |= {"STACK_IMAGE": self.environ["STACK_IMAGE"], "STACK_RUNNER_PORT": "0"}
        try:
            yield other
        finally:
            other.down()

    async def start_runners(self, count: int = 1, *, wait: bool = True) -> None:
        """Start this many replicas of the runner, and wait until they are healthy."""
        await self.compose(
            "up", "--detach", "--no-build", *(("--wait",) if wait else ()),
            "--scale", f"{RUNNER}={count}", RUNNER,
        )  # fmt: skip

    def gateway_environ(self, **more: str) -> dict[str, str]:
        """For a gateway on the host that finds this project's runners by asking the engine."""
        return {
            "RUNNER_BACKEND": "docker",
            "RUNNER_DOCKER_PROJECT": self.environ["COMPOSE_PROJECT_NAME"],
            "RUNNER_SERVICE_TOKEN": self.env_file()["RUNNER_SERVICE_TOKEN"],
            "RUNNER_BUNDLE_DIR": str(self.folder / ".gateway" / "bundles"),
            **{
                name: self.environ[name]
                for name in ("DOCKER_HOST", "DOCKER_CONFIG")
                if name in self.environ
            },
            **more,
        }

    def up(self) -> None:
        """Blocking: for a fixture that all tests share."""
        self.up_printed = run(
            "scripts/dev", "up", cwd=self.folder, environ=self.environ, timeout_s=_UP_S
        )

    def up_app(self) -> None:
        """The same with the example app."""
        run("scripts/dev", "up", "--app", cwd=self.folder, environ=self.environ, timeout_s=_UP_S)

    def down(self) -> None:
        run("scripts/dev", "down", cwd=self.folder, environ=self.environ, timeout_s=_COMMAND_S)

    def last_words(self) -> str:
        """The containers, and the end of what they logged."""
        asked = (("ps", "--all"), ("logs", "--no-color", "--tail", "100"))
        return "\n".join(
            run(
                "docker", "compose", *verb,
                cwd=self.folder, environ=self.environ, timeout_s=_COMMAND_S,
            )
            for verb in asked
        )  # fmt: skip

    def env_file(self) -> Mapping[str, str]:
        lines = (self.folder / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def write_env(self, **variables: str) -> None:
        """Give names values in .env by replacing the file, as editors do."""
        lines = (self.folder / ".env").read_text().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in variables]
        draft = self.folder / ".env.draft"
        draft.write_text("\n".join([*kept, *(f"{key}={text}" for key, text in variables.items())]))
        if os.geteuid() == 0:
            os.chown(draft, USER, USER)
        draft.replace(self.folder / ".env")

    def caller(self, tenant: str = "acme") -> Mapping[str, str]:
        """The header of a call by the application, on behalf of a tenant."""
        return {"x-gateway-key": self.env_file()["GATEWAY_PROXY_KEY"], "x-alga-tenant": tenant}

    def operator(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.env_file()['GATEWAY_ADMIN_TOKEN']}"}

    def host_environ(self) -> dict[str, str]:
        """For the program on the host, in the copy's folder, as its user runs it there."""
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    async def dev(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`scripts/dev ...`, whatever its exit code."""
        return await self._run("scripts/dev", *arguments)

    async def compose(self, *arguments: str) -> str:
        """`docker compose ...`, which must succeed."""
        done = await self._run("docker", "compose", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def docker(self, *arguments: str) -> str:
        """`docker ...`, which must succeed; both of its streams, in the order of writing."""
        done = await self._run("docker", *arguments, errors=asyncio.subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    async def container(self, service: str) -> str:
        """The id of a service's only container."""
        return (await self.compose("ps", "--all", "--quiet", service)).strip()

    async def log(self, container: str, *options: str) -> str:
        """What a container has written, in the order of writing."""
        return await self.docker("logs", *options, container)

    async def containers(self, service: str) -> list[str]:
        """The names of a service's containers, in the order of their numbers."""
        return sorted((await self.compose("ps", "--format", "{{.Name}}", service)).split())

    async def started_at(self, service: str) -> str:
        """When its container was last started: another time means a crash in between."""
        return await self.docker(
            "inspect", "--format", "{{.State.StartedAt}}", await self.container(service)
        )

    async def _run(
        self, *command: str, errors: int = asyncio.subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            async with asyncio.timeout(_COMMAND_S):
                output, complaints = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return subprocess.CompletedProcess(
            command, process.returncode or 0, output.decode(), (complaints or b"").decode()
        )
