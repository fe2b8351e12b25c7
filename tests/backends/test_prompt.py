"""A call that is begun on the spot ends as the awaited one does, on every way to a runner."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from backends.contract import AssetResponse, ExecuteResult, RunnerBackend
from backends.docker import open_docker
from backends.errors import BackendError
from backends.knative import KnativeBackend, open_knative
from backends.prompt import PromptBackend
from backends.settings import DockerSettings, KnativeSettings
from backends.upstream.bodies import read_whole
from tests.backends.calls import EXTENSION, asset_request, execute_request
from tests.fakes.raw_runner import RawRunner, Step, Wire, chunked, hang, head, response, send

PATIENCE_S = 10.0
FILE = response(b"1+1;", fields=[("Content-Type", "text/javascript"), ("ETag", '"1"')])
RESULT = response(orjson.dumps({"status": 201, "headers": {}, "body_b64": "b2s=", "error": None}))
QUEUE_FULL = response(b"pending request queue full", status="503 Service Unavailable")
KINDS = ("docker", "knative", "knative with everything")

Said = tuple[object, ...]


@asynccontextmanager
async def opened(kind: str, url: str, folder: Path) -> AsyncIterator[RunnerBackend]:
    """A backend that has a connection to its runner."""
    token = folder / "token"
    token.write_text("a-token")
    backend: RunnerBackend
    if kind == "docker":
        backend = await open_docker(DockerSettings(host_url=url))
    elif kind == "knative":
        backend = await open_knative(KnativeSettings(base_url=url))
    else:
        settings = KnativeSettings(
            base_url=url, host="hello.example", token_file=token, cold_start_s=5.0
        )
        backend = await open_knative(settings)
    try:
        await backend.fetch_asset(asset_request())
        yield backend
    finally:
        await backend.aclose()


async def begun(begin: Callable[..., object], request: object) -> Any:
    """The outcome, awaited where that is still to be done; raised when it is a failure."""
    done = asyncio.get_running_loop().create_future()
    assert begin(request, done.set_result) is not None
    async with asyncio.timeout(PATIENCE_S):
        outcome = await done
        if isinstance(outcome, Coroutine):
            return await outcome
    if isinstance(outcome, BackendError):
        raise outcome
    return outcome


async def said(call: Awaitable[Any]) -> Said:
    """The outcome of a call as far as it can be compared."""
    try:
        outcome = await call
    except BackendError as failure:
        return type(failure), failure.reason, failure.phase
    match outcome:
        case AssetResponse(status=status, headers=headers, body=bytes(body)):
            return status, headers, body
        case AssetResponse(status=status, headers=headers, body=stream):
            try:
                whole = await read_whole(stream, max_bytes=2**20)  # type: ignore[arg-type]  # no bytes
            except BackendError as failure:
                return status, headers, type(failure), failure.reason
            else:
                return status, headers, whole
        case ExecuteResult(status=status, headers=headers, body=body, error=error):
            return status, headers, body, error
    raise AssertionError(outcome)


def never_called(_: object) -> None:
    raise AssertionError("nothing was begun, so there is nothing to tell")


def nothing_is_left(backend: RunnerBackend) -> None:
    assert backend.stats().connections_in_use == 0
    if isinstance(backend, KnativeBackend):
        handlers = backend._reach.facts().get("handlers")
        assert handlers is None or handlers["running"] == handlers["waiting"] == 0  # type: ignore[index]


ANSWERS: dict[str, tuple[Step, ...]] = {
    "file": (send(FILE),),
    "envelope": (send(RESULT),),
    "not modified": (send(head("304 Not Modified", [("ETag", '"1"')])),),
    "in two pieces": (send(FILE[:-2], FILE[-2:]),),
    "long": (send(response(b"x" * 300_000)),),
    "chunked": (send(chunked(b"{", b"}")),),
    "cut off": (send(response(b"x", length=9), then="close"),),
    "closed": (send(then="close"), send(FILE)),
    "moved": (send(response(status="302 Found", fields=[("Location", "/elsewhere")])),),
    "no file": (send(response(b"no", status="404 Not Found")),),
    "bad": (send(response(b"no", status="400 Bad Request")),),
    "too large": (send(response(b"no", status="413 Too Large")),),
    "queue full": (send(QUEUE_FULL), send(FILE)),
    "bad gateway": (send(response(b"x", status="502 Bad Gateway")), send(FILE)),
    "no token": (send(response(b"no", status="401 Unauthorized")), send(FILE)),
    "not http": (send(b"SSH-2.0-x\r\n\r\n"),),
    "switching": (send(head("101 Switching Protocols")),),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("kind", KINDS)
async def test_both_ways_have_one_outcome(kind: str, name: str, tmp_path: Path) -> None:
    outcomes = []
    for way in ("awaited", "begun"):
        async with (
            RawRunner(send(FILE), *ANSWERS[name]) as runner,
            opened(kind, runner.url, tmp_path) as backend,
        ):
            assert isinstance(backend, PromptBackend)
            awaited, begin = backend.fetch_asset, backend.begin_asset
            request: Any = asset_request(path="app.js")
            if name in ("envelope", "too large", "no token", "cut off"):
                awaited, begin = backend.execute, backend.begin_execute  # type: ignore[assignment]
                request = execute_request()
            outcome = await said(awaited(request) if way == "awaited" else begun(begin, request))
            nothing_is_left(backend)
            port = runner.url.rpartition(":")[2].encode()
            heads = [each.head.replace(port, b"(port)") for each in runner.requests]
            outcomes.append((outcome, heads))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", ["begin_asset", "begin_execute"])
async def test_the_callback_of_a_cancelled_call_is_never_called(
    kind: str, call: str, tmp_path: Path
) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def hold(wire: Wire) -> None:
        asked.set()
        await wire.reader.read()
        left.set()

    async with (
        RawRunner(send(FILE), hold) as runner,
        opened(kind, runner.url, tmp_path) as backend,
        asyncio.timeout(PATIENCE_S),
    ):
        outcomes: list[object] = []
        request = asset_request() if call == "begin_asset" else execute_request()
        cancel = getattr(backend, call)(request, outcomes.append)
        assert cancel is not None
        await asked.wait()
        cancel()
        nothing_is_left(backend)
        assert backend.stats().connections_idle == 0  # the one that it was on
        await left.wait()
        assert outcomes == []


@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_waiting_connection_it_declines(kind: str, tmp_path: Path) -> None:
    async with (
        RawRunner(send(FILE), hang()) as runner,
        opened(kind, runner.url, tmp_path) as backend,
    ):
        assert isinstance(backend, PromptBackend)
        first = backend.begin_asset(asset_request(), lambda _: None)
        assert first is not None
        assert backend.begin_asset(asset_request(), never_called) is None
        assert backend.begin_execute(execute_request(), never_called) is None
        first()
        nothing_is_left(backend)


async def test_a_full_line_declines(tmp_path: Path) -> None:
    async with RawRunner(send(FILE)) as runner, opened(KINDS[2], runner.url, tmp_path) as backend:
        assert isinstance(backend, KnativeBackend)
        admission = backend._reach._admission  # type: ignore[attr-defined]
        places = 0
        while admission.enter(EXTENSION):
            places += 1
        assert backend.begin_execute(execute_request(), never_called) is None
        for _ in range(places):
            admission.leave(EXTENSION)
        nothing_is_left(backend)
