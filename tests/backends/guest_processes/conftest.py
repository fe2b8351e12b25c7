"""Guest processes as a gateway starts them, and what to ask of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from backends.contract import ExecuteContext, ExecuteRequest, Limits
from backends.envelope.call import guest_timeout_ms
from backends.guest_processes.backend import GuestProcessesBackend, open_guest_processes
from backends.guest_processes.process import StartProcess
from backends.settings import EmbeddedSettings
from gateway.guest_start import starter
from gateway.settings import load
from tests.backends.embedded import wat

Asking = Callable[..., ExecuteRequest]
Opening = Callable[..., Awaitable[GuestProcessesBackend]]


@pytest.fixture
def bundle_dir(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


@pytest.fixture
def start_process(tmp_path: Path) -> StartProcess:
    """Starts real ones."""
    (tmp_path / ".env").touch()
    return starter(load({"GATEWAY_ENV_FILE": str(tmp_path / ".env")}))


@pytest.fixture
async def opening(bundle_dir: Path, start_process: StartProcess) -> AsyncIterator[Opening]:
    """Opens backends of so many processes, and closes them."""
    opened = []

    async def open_backend(
        processes: int, start: StartProcess = start_process
    ) -> GuestProcessesBackend:
        settings = EmbeddedSettings(bundle_dir=bundle_dir, processes=processes, max_concurrency=4)
        backend = await open_guest_processes(settings, start)
        opened.append(backend)
        return backend

    yield open_backend
    for backend in opened:
        await backend.aclose()


@pytest.fixture
def asking(bundle_dir: Path) -> Asking:
    """Installs a component, and makes calls of it."""

    def ask(
        component: str,
        *declared: str,
        timeout_s: float = 30.0,
        idempotency_key: str | None = None,
    ) -> ExecuteRequest:
        content_hash = wat.install(bundle_dir, component, declared)
        return ExecuteRequest(
            request_id="r-1",
            context=ExecuteContext(tenant_id="t", extension_id="e", content_hash=content_hash),
            method="POST",
            path="/x",
            body=b"hi",
            limits=Limits(timeout_ms=guest_timeout_ms(timeout_s)),
            timeout_s=timeout_s,
            providers=declared,
            idempotency_key=idempotency_key,
        )

    return ask
