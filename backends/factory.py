"""From settings to a backend: the only place that knows all kinds."""

from typing import assert_never

from backends.contract import RunnerBackend
from backends.guest_processes.process import StartProcess
from backends.settings import BackendSettings, DockerSettings, EmbeddedSettings, KnativeSettings


async def open_backend(settings: BackendSettings, start_process: StartProcess) -> RunnerBackend:
    """Open the backend that `settings` describe.

    Modules are imported here, when their kind is asked for: a gateway in front of a remote
    runner has no use for a WebAssembly engine.

    Args:
        start_process: starts a process that runs guests, for settings that ask for some.

    Raises:
        OSError: a file or folder that the backend needs is not usable.
        ValueError: an address is not one.
    """
    match settings:
        case KnativeSettings():
            from backends.knative import open_knative

            return await open_knative(settings)
        case DockerSettings():
            from backends.docker import open_docker

            return await open_docker(settings)
        case EmbeddedSettings(processes=0):
            from backends.embedded.backend import EmbeddedBackend

            return await EmbeddedBackend.open(settings)
        case EmbeddedSettings():
            from backends.guest_processes.backend import open_guest_processes

            return await open_guest_processes(settings, start_process)
        case _:
            assert_never(settings)
