"""What every backend promises, held against each of them with the same bundle.

A kind joins by an entry in KINDS: a context manager that yields a Subject, the example
extension `hello` behind it.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from backends.bundles.pack import pack
from backends.bundles.store import BundleStore
from backends.contract import (
    AssetResponse,
    BackendKind,
    ExecuteContext,
    ExecuteRequest,
    Pairs,
    Readiness,
    RunnerBackend,
)
from backends.docker import open_docker
from backends.embedded.backend import EmbeddedBackend
from backends.errors import AssetNotFound, AssetPathRefused, BackendError
from backends.guest_processes.backend import open_guest_processes
from backends.knative import open_knative
from backends.settings import DockerSettings, EmbeddedSettings, EngineHints, KnativeSettings
from gateway.guest_start import starter
from gateway.settings import load
from tests.backends.calls import CONTENT_HASH, EXTENSION, asset_request, execute_request
from tests.backends.hello_runner import hello_guest
from tests.fakes.docker_engine import FakeEngine, container
from tests.fakes.runner import FakeRunner

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"


@dataclass(frozen=True, slots=True)
class Subject:
    """A backend, the name that it knows the example bundle by, and what its runner asks for."""

    kind: BackendKind
    backend: RunnerBackend
    content_hash: str
    service_token: str | None = None

    @property
    def context(self) -> ExecuteContext:
        return replace(execute_request().context, content_hash=self.content_hash)

    def call(self, method: str, path: str, body: bytes | None = None) -> ExecuteRequest:
        return execute_request(
            context=self.context,
            method=method,
            path=path,
            body=body,
            service_token=self.service_token,
        )

    async def fetch(
        self, path: str, *, method: str = "GET", headers: Pairs = ()
    ) -> tuple[AssetResponse, bytes]:
        answer = await self.backend.fetch_asset(
            asset_request(
                path,
                method=method,
                headers=headers,
                content_hash=self.content_hash,
                service_token=self.service_token,
            )
        )
        if isinstance(answer.body, bytes):
            return answer, answer.body
        try:
            return answer, b"".join([part async for part in answer.body])
        finally:
            await answer.body.aclose()


@asynccontextmanager
async def docker(folder: Path) -> AsyncIterator[Subject]:
    async with FakeRunner(hello_guest) as runner:
        backend = await open_docker(DockerSettings(host_url=runner.url))
        yield Subject(BackendKind.DOCKER, backend, CONTENT_HASH)
        await backend.aclose()


@asynccontextmanager
async def docker_by_labels(folder: Path) -> AsyncIterator[Subject]:
    async with FakeRunner(hello_guest) as runner:
        with TemporaryDirectory(prefix="engine-") as short:  # a socket's path has 107 bytes
            async with FakeEngine(Path(short) / "docker.sock") as engine:
                engine.add(container("runner-1", port=runner.port))
                hints = EngineHints(docker_host=engine.url)
                backend = await open_docker(DockerSettings(engine=hints))
                yield Subject(BackendKind.DOCKER, backend, CONTENT_HASH)
                await backend.aclose()


@asynccontextmanager
async def knative(folder: Path) -> AsyncIterator[Subject]:
    (folder / "token").write_text("projected-token")
    async with FakeRunner(hello_guest) as runner:
        backend = await open_knative(
            KnativeSettings(
                base_url=f"{runner.url}/base",
                host="hello.default.example",
                token_file=folder / "token",
            )
        )
        yield Subject(BackendKind.KNATIVE, backend, CONTENT_HASH)
        await backend.aclose()


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Subject]:
    store = folder / "store"
    if not store.exists():  # compiled once for all tests of this file
        pack(EXAMPLE, folder / "hello.tar.zst")
    bundle = BundleStore(store).add(folder / "hello.tar.zst")
    backend = await EmbeddedBackend.open(EmbeddedSettings(bundle_dir=store))
    await backend.warm(bundle.content_hash)  # on a busy machine it takes longer than a call may
    yield Subject(BackendKind.EMBEDDED, backend, bundle.content_hash)
    await backend.aclose()


@asynccontextmanager
async def guest_processes(folder: Path) -> AsyncIterator[Subject]:
    async with embedded(folder) as inside:
        settings = EmbeddedSettings(bundle_dir=folder / "store", processes=1)
        (folder / ".env").touch()
        start = starter(load({"GATEWAY_ENV_FILE": str(folder / ".env")}))
        backend = await open_guest_processes(settings, start)
        yield Subject(BackendKind.EMBEDDED, backend, inside.content_hash)
        await backend.aclose()


KINDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Subject]]] = {
    "docker": docker,
    "docker by labels": docker_by_labels,
    "knative": knative,
    "embedded": embedded,
    "guest processes": guest_processes,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(params=KINDS)
async def subject(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Subject]:
    async with KINDS[request.param](folder) as subject:
        yield subject


def test_a_backend_says_what_it_is(subject: Subject) -> None:
    assert subject.backend.identity.kind is subject.kind
    assert subject.backend.identity.name


@pytest.mark.parametrize("body", [b"hello", b"", bytes(range(256)) * 400])
async def test_a_guest_gets_the_callers_bytes_and_answers_with_its_own(
    subject: Subject, body: bytes
) -> None:
    result = await subject.backend.execute(subject.call("POST", "/echo", body))
    assert (result.status, result.error, result.body or b"") == (200, None, body)
    assert dict(result.headers)["content-type"] == "application/octet-stream"


async def test_a_guest_knows_for_whom_it_runs(subject: Subject) -> None:
    result = await subject.backend.execute(subject.call("GET", "/hello"))
    assert json.loads(result.body or b"")["tenant"] == "tenant-1"
    assert dict(result.headers)["x-ext-warning"] == "no user is known"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/no", 404), ("PUT", "/echo", 405)])
async def test_a_guests_own_refusal_is_an_answer_and_no_failure(
    subject: Subject, method: str, path: str, status: int
) -> None:
    result = await subject.backend.execute(subject.call(method, path))
    assert (result.status, result.error) == (status, None)
    assert "error" in json.loads(result.body or b"")


async def test_a_bundle_that_nobody_has_is_a_class_of_error_without_a_detail(
    subject: Subject,
) -> None:
    request = subject.call("GET", "/hello")
    unknown = replace(request.context, content_hash="sha256:" + "0" * 64)
    result = await subject.backend.execute(replace(request, context=unknown))
    assert (result.status, result.error) == (502, "bundle_fetch_failed")
    assert result.body is None


async def test_a_page_comes_with_its_type_and_validator(subject: Subject) -> None:
    answer, body = await subject.fetch("index.html")
    headers = dict(answer.headers)
    assert (answer.status, int(headers["content-length"])) == (200, len(body))
    assert headers["content-type"].startswith("text/html")
    assert headers["etag"].startswith('"')
    assert headers["content-security-policy"]
    assert "cache-control" not in headers


async def test_a_route_of_the_extensions_own_is_its_page(subject: Subject) -> None:
    _, page = await subject.fetch("index.html")
    _, route = await subject.fetch("settings/profile")
    assert route == page


async def test_what_the_client_has_already_is_not_sent_again(subject: Subject) -> None:
    first, _ = await subject.fetch("app.js")
    etag = dict(first.headers)["etag"]
    answer, body = await subject.fetch("app.js", headers=(("if-none-match", etag),))
    assert (answer.status, body, dict(answer.headers)["etag"]) == (304, b"", etag)


async def test_a_head_request_has_the_fields_and_not_the_body(subject: Subject) -> None:
    whole, content = await subject.fetch("app.js")
    answer, body = await subject.fetch("app.js", method="HEAD")
    assert (answer.status, body) == (200, b"")
    assert dict(answer.headers)["content-length"] == str(len(content))
    assert dict(answer.headers)["etag"] == dict(whole.headers)["etag"]


async def test_a_range_is_a_part_of_the_file(subject: Subject) -> None:
    _, content = await subject.fetch("app.js")
    answer, body = await subject.fetch("app.js", headers=(("range", "bytes=2-5"),))
    assert (answer.status, body) == (206, content[2:6])
    assert dict(answer.headers)["content-range"] == f"bytes 2-5/{len(content)}"


async def test_a_range_beyond_the_file_names_its_size(subject: Subject) -> None:
    _, content = await subject.fetch("app.js")
    answer, body = await subject.fetch("app.js", headers=(("range", "bytes=99999999-"),))
    assert (answer.status, body) == (416, b"")
    assert dict(answer.headers)["content-range"] == f"bytes */{len(content)}"


@pytest.mark.parametrize("wanted", ["bytes=2-5", "bytes=99999999-"])
async def test_a_range_means_nothing_to_a_question_about_the_file(
    subject: Subject, wanted: str
) -> None:
    whole, _ = await subject.fetch("app.js", method="HEAD")
    fields = (("range", wanted), ("if-range", dict(whole.headers)["etag"]))
    answer, body = await subject.fetch("app.js", method="HEAD", headers=fields)
    assert (answer.status, body) == (200, b"")
    assert dict(answer.headers)["content-length"] == dict(whole.headers)["content-length"]


async def test_a_file_that_is_not_there_is_not_found(subject: Subject) -> None:
    with pytest.raises(AssetNotFound):
        await subject.fetch("no-such-file.js")


@pytest.mark.parametrize("path", ["../manifest.json", "a/%2e%2e/b.js", ".hidden.js", "a%2fb.js"])
async def test_a_path_that_leaves_the_bundle_is_refused(subject: Subject, path: str) -> None:
    with pytest.raises(AssetPathRefused):
        await subject.fetch(path)


def test_the_address_of_a_page_is_under_the_public_base(subject: Subject) -> None:
    url = subject.backend.resolve_ui_url(EXTENSION, subject.content_hash, "/a", tenant_id="t")
    assert url.startswith(f"/runner/ext-ui/{EXTENSION}/sha256%3A")
    assert url.endswith("/index.html?path=%2Fa&tenant=t&extensionId=ext-1")
    with pytest.raises(ValueError, match="Invalid content hash"):
        subject.backend.resolve_ui_url(EXTENSION, "sha256:no")


async def test_a_backend_in_good_health_is_ready(subject: Subject) -> None:
    health = await subject.backend.health()
    assert health.readiness is Readiness.READY


async def test_what_an_operator_sees_is_plain_data_without_a_secret(subject: Subject) -> None:
    await subject.backend.execute(subject.call("GET", "/hello"))
    shown = json.dumps(await subject.backend.metadata())
    assert "projected-token" not in shown
    assert "tenant-1" not in shown


async def test_warming_a_bundle_never_raises(subject: Subject) -> None:
    await subject.backend.warm(subject.content_hash)
    await subject.backend.warm("sha256:" + "0" * 64)


async def test_a_closed_backend_says_so_and_may_be_closed_twice(subject: Subject) -> None:
    await subject.backend.aclose()
    await subject.backend.aclose()
    with pytest.raises(BackendError):
        await subject.backend.execute(subject.call("GET", "/hello"))
    assert (await subject.backend.health()).readiness is Readiness.DOWN


__all__ = [name for name in globals() if name.startswith("test_")]
"""The suite, for modules that bring a subject of their own."""
