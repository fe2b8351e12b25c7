"""The embedded backend as the gateway sees it: real bundles, real guests, this process."""

import asyncio
import base64
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from backends.contract import (
    AssetRequest,
    BackendKind,
    ExecuteContext,
    ExecuteRequest,
    Limits,
    Readiness,
    SecretEnvelope,
)
from backends.embedded.backend import EmbeddedBackend
from backends.embedded.host.call import Call
from backends.errors import (
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerRefusedSize,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.settings import EmbeddedSettings
from tests.backends.embedded import wat


class Host:
    """logging.log-info as a place where guests wait, so that a test decides when they go on."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()

    def log_info(self, call: Call, _message: str) -> None:
        self.calls.append(call)
        self.entered.release()
        self.may_go_on.wait(call.remaining_s())

    async def has_entered(self) -> None:
        await asyncio.to_thread(self.entered.acquire)


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def settings(tmp_path: Path) -> EmbeddedSettings:
    return EmbeddedSettings(bundle_dir=tmp_path / "bundles", max_concurrency=2, max_queue=1)


@pytest.fixture
async def backend(settings: EmbeddedSettings, host: Host) -> AsyncIterator[EmbeddedBackend]:
    functions = {"logging": {"log-info": host.log_info}}
    backend = await EmbeddedBackend.open(settings, host_functions=functions)
    yield backend
    host.may_go_on.set()
    await backend.aclose()


Asking = Callable[..., ExecuteRequest]


@pytest.fixture
def asking(settings: EmbeddedSettings) -> Asking:
    def ask(component: str, *declared: str, **changed: object) -> ExecuteRequest:
        content_hash = wat.install(settings.bundle_dir, component, declared)
        request = ExecuteRequest(
            request_id="r-1",
            context=ExecuteContext(
                tenant_id="t1", extension_id="e1", content_hash=content_hash, install_id="i1"
            ),
            method="POST",
            path="/x",
            body=b"hi",
            limits=Limits(timeout_ms=20_000),
            timeout_s=30.0,
        )
        return replace(request, **changed)  # type: ignore[arg-type]  # tests name real fields

    return ask


async def test_a_guest_answers(backend: EmbeddedBackend, asking: Asking) -> None:
    answer = await backend.execute(asking(wat.ECHO))
    assert (answer.status, answer.body, answer.error) == (200, b"hi", None)
    assert backend.identity.kind is BackendKind.EMBEDDED


@pytest.mark.parametrize(
    ("component", "status", "error"),
    [
        (wat.TRAP, 500, "execute_trapped"),
        (wat.OUT_OF_MEMORY, 500, "execute_out_of_memory"),
        (wat.NO_HANDLER, 500, "execute_no_handler"),
        (wat.importing("wasi:http/types@0.2.0"), 500, "execute_link_failed"),
        (wat.guest(wat.answering(99)), 500, "execute_invalid_answer"),
        (wat.MANY_HEADERS, 500, "execute_invalid_answer"),
    ],
)
async def test_a_failure_is_a_word_for_the_caller_and_a_line_in_the_log(
    backend: EmbeddedBackend, asking: Asking, component: str, status: int, error: str
) -> None:
    with capture_logs() as logs:
        answer = await backend.execute(asking(component))
    assert (answer.status, answer.error, answer.headers, answer.body) == (status, error, (), None)
    (line,) = [entry for entry in logs if entry["event"] == "guest_failed"]
    assert (line["request_id"], line["tenant"], line["error"]) == ("r-1", "t1", error)


async def test_an_endless_guest_ends_and_leaves_its_place(
    backend: EmbeddedBackend, asking: Asking
) -> None:
    said = asking(wat.ENDLESS, limits=Limits(timeout_ms=50))
    for _ in range(3):
        assert (await backend.execute(said)).error == "execute_timeout"
    assert (await backend.execute(asking(wat.ECHO))).status == 200


async def test_the_loop_goes_on_while_guests_spin(backend: EmbeddedBackend, asking: Asking) -> None:
    said = asking(wat.ENDLESS, limits=Limits(timeout_ms=300))
    spinning = [asyncio.create_task(backend.execute(said)) for _ in range(2)]
    turns = 0
    while not all(call.done() for call in spinning):
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    assert {call.result().error for call in spinning} == {"execute_timeout"}


async def test_other_calls_go_on_while_one_waits_for_its_host(
    backend: EmbeddedBackend, asking: Asking, host: Host
) -> None:
    waiting = asyncio.create_task(backend.execute(asking(wat.calling_log_info())))
    await host.has_entered()
    assert (await backend.execute(asking(wat.ECHO))).status == 200
    assert not waiting.done()
    host.may_go_on.set()
    assert (await waiting).status == 200


async def test_a_host_function_learns_who_calls_and_until_when(
    backend: EmbeddedBackend, asking: Asking, host: Host
) -> None:
    host.may_go_on.set()
    said = asking(
        wat.calling_log_info(),
        "cap:http.fetch",
        "cap:storage.kv",
        providers=("cap:http.fetch", "cap:secrets.get"),
        limits=Limits(timeout_ms=1_000),
    )
    await backend.execute(said)
    (call,) = host.calls
    assert call.request is said
    assert call.remaining_s() <= 1.0
    assert call.granted == {
        "cap:http.fetch",
        "cap:context.read",
        "cap:log.emit",
        "cap:user.read",
    }


async def test_an_unknown_capability_is_refused_after_the_bundle_was_found(
    backend: EmbeddedBackend, asking: Asking
) -> None:
    said = asking(wat.ECHO, providers=("cap:log.emit", "Slack", "\x1b[31mred"))
    with capture_logs() as logs:
        answer = await backend.execute(said)
    assert (answer.status, answer.error) == (400, "unknown_capabilities")
    (line,) = [entry for entry in logs if entry["event"] == "guest_failed"]
    assert line["detail"] == "'\\x1b[31mred', 'slack'"
    nowhere = replace(said, context=replace(said.context, content_hash="sha256:" + "0" * 64))
    answer = await backend.execute(nowhere)
    assert (answer.status, answer.error) == (502, "bundle_fetch_failed")


async def test_secrets_are_opened_before_the_guest_runs(
    backend: EmbeddedBackend, asking: Asking, host: Host
) -> None:
    host.may_go_on.set()
    sealed = base64.b64encode(orjson.dumps({"api_key": "s3cret"})).decode()
    said = asking(wat.calling_log_info(), secret_envelope=SecretEnvelope(ciphertext_b64=sealed))
    assert (await backend.execute(said)).status == 200
    assert host.calls[0].secrets == {"api_key": "s3cret"}
    broken = replace(said, secret_envelope=SecretEnvelope(ciphertext_b64="s3cret"))
    with capture_logs() as logs:
        answer = await backend.execute(broken)
    assert (answer.status, answer.error) == (500, "secret_decrypt_failed")
    assert len(host.calls) == 1
    assert "s3cret" not in repr(logs)


async def test_calls_that_wait_for_a_component_hold_up_only_their_own(
    backend: EmbeddedBackend, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_done(_component: Path) -> bytes:
        await asyncio.Event().wait()
        return b""

    ready, coming = asking(wat.ECHO), asking(wat.URL)
    await backend.warm(ready.context.content_hash)
    monkeypatch.setattr("backends.embedded.guests.compiled", never_done)
    waiting = [asyncio.create_task(backend.execute(coming)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RunnerOverloaded):
        await backend.execute(coming)
    assert (await backend.execute(ready)).status == 200
    for call in waiting:
        call.cancel()


async def test_a_full_queue_refuses_at_once(
    backend: EmbeddedBackend, asking: Asking, host: Host
) -> None:
    said = asking(wat.calling_log_info())
    running = [asyncio.create_task(backend.execute(said)) for _ in range(3)]
    await host.has_entered()
    await host.has_entered()
    with pytest.raises(RunnerOverloaded) as caught:
        await backend.execute(said)
    assert (caught.value.reason, caught.value.retry_after_s) == ("queue_full", 1)
    host.may_go_on.set()
    assert [(await call).status for call in running] == [200] * 3


async def test_a_call_whose_turn_never_comes_was_not_processed(
    backend: EmbeddedBackend, asking: Asking, host: Host
) -> None:
    said = asking(wat.calling_log_info())
    running = [asyncio.create_task(backend.execute(said)) for _ in range(2)]
    await host.has_entered()
    await host.has_entered()
    with pytest.raises(RunnerOverloaded) as caught:
        await backend.execute(replace(said, timeout_s=0.05))
    assert caught.value.reason == "queue_timeout"
    assert len(host.calls) == 2
    host.may_go_on.set()
    await asyncio.gather(*running)


async def test_a_bundle_that_is_not_ready_in_time_is_a_timeout(
    backend: EmbeddedBackend, asking: Asking
) -> None:
    with pytest.raises(RunnerTimeout):
        await backend.execute(asking(wat.ECHO, timeout_s=0.0))


async def test_a_caller_that_goes_away_interrupts_its_guest(
    backend: EmbeddedBackend, asking: Asking, host: Host
) -> None:
    host.may_go_on.set()
    said = asking(
        wat.calling_log_info(then="(loop $forever (br $forever))"),
        limits=Limits(timeout_ms=90_000),
        timeout_s=90.0,
    )
    calls = [asyncio.create_task(backend.execute(said)) for _ in range(2)]
    await host.has_entered()
    await host.has_entered()
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    # Both threads were taken: an answer comes only once the endless guests were stopped.
    assert (await backend.execute(asking(wat.ECHO))).status == 200


async def test_a_request_body_beyond_the_engines_means_is_refused(
    backend: EmbeddedBackend, asking: Asking
) -> None:
    with pytest.raises(RunnerRefusedSize):
        await backend.execute(asking(wat.ECHO, body=bytes((16 << 20) + 1)))


@pytest.mark.parametrize("asked", [None, 1_000, 0, -1])
async def test_an_envelope_cannot_raise_the_memory_limit(
    settings: EmbeddedSettings, asking: Asking, asked: int | None
) -> None:
    backend = await EmbeddedBackend.open(replace(settings, memory_mb=64))
    said = asking(wat.LARGE_FROM_THE_START, limits=Limits(timeout_ms=9_000, memory_mb=asked))
    assert (await backend.execute(said)).error == "execute_out_of_memory"
    await backend.aclose()


async def test_a_duplicate_with_an_idempotency_key_runs_once(
    backend: EmbeddedBackend, asking: Asking, host: Host
) -> None:
    said = asking(wat.calling_log_info(), idempotency_key="k")
    calls = [asyncio.create_task(backend.execute(said)) for _ in range(5)]
    await host.has_entered()
    host.may_go_on.set()
    assert [(await call).status for call in calls] == [200] * 5
    assert (await backend.execute(replace(said, body=b"other"))).status == 422
    assert len(host.calls) == 1


async def test_closing_interrupts_what_runs_and_refuses_what_comes(
    settings: EmbeddedSettings, asking: Asking, host: Host
) -> None:
    functions = {"logging": {"log-info": host.log_info}}
    backend = await EmbeddedBackend.open(settings, host_functions=functions)
    host.may_go_on.set()
    said = asking(wat.calling_log_info(then="(loop $forever (br $forever))"))
    plain = asyncio.create_task(backend.execute(said))
    keyed = asyncio.create_task(backend.execute(replace(said, idempotency_key="k")))
    await host.has_entered()
    await host.has_entered()
    queued = asyncio.create_task(backend.execute(said))
    await asyncio.sleep(0)
    await backend.aclose()
    for call in (plain, keyed):
        with pytest.raises(RunnerProtocolError):
            await call
    for late in (queued, backend.execute(said)):
        with pytest.raises(RunnerUnreachable):
            await late
    await backend.warm(said.context.content_hash)
    assert (await backend.health()).readiness is Readiness.DOWN
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("guest-epoch")]


async def test_warming_makes_the_next_call_find_its_guest(
    backend: EmbeddedBackend, asking: Asking
) -> None:
    said = asking(wat.ECHO)
    await backend.warm(said.context.content_hash)
    assert (await backend.health()).facts["cached_components"] == 1
    await backend.warm("sha256:" + "0" * 64)


async def test_why_a_bundle_could_not_be_warmed_is_in_the_log(
    backend: EmbeddedBackend, asking: Asking
) -> None:
    with capture_logs() as logs:
        await backend.warm(asking(wat.importing("wasi:http/types@0.2.0")).context.content_hash)
    (said,) = [each for each in logs if each["event"] == "bundle_not_warmed"]
    assert said["error"] == "execute_link_failed"
    assert "wasi:http/types@0.2.0 is not in the world" in said["detail"]


async def test_a_working_backend_is_ready_and_says_what_it_is(backend: EmbeddedBackend) -> None:
    health = await backend.health()
    assert (health.readiness, health.detail) == (Readiness.READY, "")
    facts = await backend.metadata()
    assert (facts["bundle_dir"], facts["storage"]) == ("bundles", "file")
    assert str(facts["engine"]).startswith("wasmtime ")


async def test_a_bundle_folder_that_went_away_shows_in_health(
    backend: EmbeddedBackend, settings: EmbeddedSettings
) -> None:
    await asyncio.to_thread(os.rename, settings.bundle_dir, settings.bundle_dir.with_name("gone"))
    health = await backend.health()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "bundle_dir_not_writable")


async def test_a_bundle_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunnerUnreachable) as caught:
        await EmbeddedBackend.open(EmbeddedSettings(bundle_dir=tmp_path / "file" / "bundles"))
    assert caught.value.reason == "bundle_dir_unusable"


async def test_the_bundles_own_files_are_served(backend: EmbeddedBackend, asking: Asking) -> None:
    said = asking(wat.ECHO)
    page = await backend.fetch_asset(
        AssetRequest(
            request_id="r",
            method="GET",
            extension_id="e1",
            content_hash=said.context.content_hash,
            path="index.html",
            timeout_s=10.0,
        )
    )
    assert (page.status, page.body) == (200, b"<!doctype html><title>t</title>")
    assert backend.resolve_ui_url("e1", said.context.content_hash).startswith("/runner/ext-ui/e1/")
