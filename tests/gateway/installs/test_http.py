"""Installs of a registry: a real server that answers, errs, stalls and goes away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from backends.bundles.store import BundleStore
from backends.contract import SecretEnvelope
from gateway.installs.contract import ExtensionNotInstalled, Install, RegistryUnavailable
from gateway.installs.factory import open_installs as open_installs_of
from gateway.installs.http import MAX_ANSWER_BYTES, RegistryBudgets, RegistryInstalls
from gateway.settings import load
from tests.backends.archives import bundle_archive
from tests.fakes.registry import TOKEN, FakeRegistry

HASH = "sha256:" + "a" * 64
ANSWER: dict[str, object] = {
    "extensionSlug": "example.hello",
    "installId": "install-1",
    "versionId": "version-1",
    "registryId": "registry-1",
    "contentHash": HASH,
    "config": {"text": "one", "none": None, "number": 3, "list": [1, "two"]},
    "providers": ["cap:http.fetch"],
    "configVersion": "7",
    "secretsVersion": 8,
    "secretEnvelope": {"ciphertext_b64": "c2VjcmV0", "algorithm": "vault", "version": 2},
    "updatedAt": "2026-11-23T00:00:00Z",
}
# Nothing is ever fresh, so each question is asked; a remembered answer stays usable.
ALWAYS_ASK = RegistryBudgets(fresh_s=0, not_installed_s=0, retry_after_s=0, total_s=10)
IMPATIENT = replace(ALWAYS_ASK, total_s=0.05)

Open = Callable[..., RegistryInstalls]


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as fake:
        fake.installs["t1", "hello"] = dict(ANSWER)
        yield fake


@pytest.fixture
async def open_installs(registry: FakeRegistry) -> AsyncIterator[Open]:
    opened: list[RegistryInstalls] = []

    def open_them(
        budgets: RegistryBudgets = ALWAYS_ASK,
        *,
        token: str = TOKEN,
        store: BundleStore | None = None,
    ) -> RegistryInstalls:
        opened.append(
            RegistryInstalls(registry.url + "/", token=token, store=store, budgets=budgets)
        )
        return opened[-1]

    yield open_them
    for installs in opened:
        await installs.aclose()


async def test_an_answer_becomes_an_install(open_installs: Open) -> None:
    assert await open_installs().resolve("t1", "Hello") == Install(
        tenant_id="t1",
        extension_slug="example.hello",
        install_id="install-1",
        registry_id="registry-1",
        version_id="version-1",
        version=None,
        content_hash=HASH,
        config={"text": "one", "none": "", "number": "3", "list": '[1,"two"]'},
        config_version="7",
        secrets_version="8",
        providers=("cap:http.fetch",),
        secret_envelope=SecretEnvelope(ciphertext_b64="c2VjcmV0", algorithm="vault", version="2"),
        endpoints=None,
        ui_label=None,
    )


async def test_a_registry_is_found_by_the_usual_address_of_its_api(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    settings = load(
        {
            "GATEWAY_ENV_FILE": "/dev/null",
            "REGISTRY_BASE_URL": f"{registry.url}/api",
            "RUNNER_CONFIG_API_TOKEN": TOKEN,
            "RUNNER_BUNDLE_DIR": str(tmp_path),
        }
    )
    async with aclosing(open_installs_of(settings)) as installs:
        assert (await installs.resolve("t1", "hello")).install_id == "install-1"


async def test_nothing_secret_is_in_the_repr(open_installs: Open) -> None:
    installs = open_installs()
    shown = repr(await installs.resolve("t1", "hello")) + repr(installs)
    assert "c2VjcmV0" not in shown
    assert "two" not in shown
    assert TOKEN not in shown


async def test_a_bare_hash_in_capitals_is_written_as_everywhere_else(
    registry: FakeRegistry, open_installs: Open
) -> None:
    registry.installs["t1", "hello"]["contentHash"] = "A" * 64
    assert (await open_installs().resolve("t1", "hello")).content_hash == HASH


async def test_endpoints_and_label_come_from_the_bundle_when_it_is_there(
    registry: FakeRegistry, open_installs: Open, tmp_path: Path
) -> None:
    store = BundleStore(tmp_path / "store")
    bundle = store.add(bundle_archive(tmp_path))
    registry.installs["t1", "hello"]["contentHash"] = bundle.content_hash
    registry.installs["t1", "elsewhere"] = dict(ANSWER)
    installs = open_installs(store=store)

    here = await installs.resolve("t1", "hello")
    assert here.endpoints == bundle.manifest.endpoints
    assert here.ui_label == "Hello"
    assert (await installs.resolve("t1", "elsewhere")).endpoints is None


# Remembering


async def test_a_fresh_answer_is_not_asked_for_again(
    registry: FakeRegistry, open_installs: Open
) -> None:
    installs = open_installs(RegistryBudgets(fresh_s=3600))
    for name in ("hello", "HELLO", "hello"):
        await installs.resolve("t1", name)
    assert registry.questions == 1


async def test_not_installed_is_remembered_only_as_long_as_told(
    registry: FakeRegistry, open_installs: Open
) -> None:
    remembering = open_installs(RegistryBudgets(not_installed_s=3600))
    for _ in range(3):
        with pytest.raises(ExtensionNotInstalled):
            await remembering.resolve("t1", "absent")
    assert registry.questions == 1

    forgetting = open_installs()
    with pytest.raises(ExtensionNotInstalled):
        await forgetting.resolve("t1", "late")
    registry.installs["t1", "late"] = dict(ANSWER)
    assert (await forgetting.resolve("t1", "late")).install_id == "install-1"


async def test_one_tenants_answer_is_never_anothers(
    registry: FakeRegistry, open_installs: Open
) -> None:
    installs = open_installs(RegistryBudgets(fresh_s=3600))
    await installs.resolve("t1", "hello")
    with pytest.raises(ExtensionNotInstalled):
        await installs.resolve("t2", "hello")


async def test_memory_is_bounded_and_the_least_used_answer_goes_first(
    registry: FakeRegistry, open_installs: Open
) -> None:
    for name in ("b", "c"):
        registry.installs["t1", name] = {**ANSWER, "installId": name}
    installs = open_installs(RegistryBudgets(fresh_s=3600, remembered=2))
    for name in ("hello", "b", "hello", "c"):
        await installs.resolve("t1", name)
    assert {one.install_id for one in await installs.all("t1")} == {"install-1", "c"}
    assert await installs.all("t2") == ()
    assert len(await installs.all(None)) == 2


async def test_callers_who_ask_at_once_share_one_question(
    registry: FakeRegistry, open_installs: Open
) -> None:
    registry.may_answer.clear()
    installs = open_installs()
    callers = [asyncio.create_task(installs.resolve("t1", "hello")) for _ in range(5)]
    await registry.asked.get()
    callers[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await callers[0]
    registry.may_answer.set()
    assert {one.install_id for one in await asyncio.gather(*callers[1:])} == {"install-1"}
    assert registry.questions == 1


# A registry that fails


async def server_error(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "internal_error"}, status=500)


async def enterprise_only(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "x", "code": "EE_REQUIRED"}, status=501)


async def redirect(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/base/api/internal/ext-runner/install-config")


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def no_json(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>token=s3cret</html>", content_type="text/html")


async def endless(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b" " * (MAX_ANSWER_BYTES + 1))


async def broken_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


async def somebody_else(request: web.Request) -> web.StreamResponse:
    return web.json_response({**ANSWER, "tenantId": "t2"})


async def incomplete(request: web.Request) -> web.StreamResponse:
    return web.json_response({"tenantId": "t1", "config": {"key": "s3cret"}})


async def strange_hash(request: web.Request) -> web.StreamResponse:
    return web.json_response({**ANSWER, "tenantId": "t1", "contentHash": "../../x"})


FAULTS = {
    server_error: "unexpected_status_500",
    enterprise_only: "unexpected_status_501",
    redirect: "unexpected_status_307",
    hang_up: "connection_lost",
    no_json: "invalid_answer",
    endless: "answer_too_large",
    broken_off: "connection_lost",
    somebody_else: "answer_for_another_tenant",
    incomplete: "invalid_answer",
    strange_hash: "invalid_answer",
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.items(), ids=[f.__name__ for f in FAULTS])
async def test_a_registry_that_fails_is_unavailable_and_never_not_installed(
    registry: FakeRegistry, open_installs: Open, fault: object, reason: str
) -> None:
    registry.misbehave = fault  # type: ignore[assignment] # the keys of FAULTS are such functions
    installs = open_installs(RegistryBudgets(total_s=10))
    with pytest.raises(RegistryUnavailable) as caught:
        await installs.resolve("t1", "hello")
    assert caught.value.reason == reason
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or "s3cret" not in str(caught.value.__context__)

    registry.misbehave = None
    assert (await installs.resolve("t1", "hello")).install_id == "install-1"


@pytest.mark.parametrize("fault", list(FAULTS), ids=[f.__name__ for f in FAULTS])
async def test_while_the_registry_fails_the_last_answer_will_do(
    registry: FakeRegistry, open_installs: Open, fault: object
) -> None:
    installs = open_installs()
    known = await installs.resolve("t1", "hello")
    registry.misbehave = fault  # type: ignore[assignment] # the keys of FAULTS are such functions
    assert await installs.resolve("t1", "hello") == known


async def test_an_answer_that_is_too_old_will_not_do(
    registry: FakeRegistry, open_installs: Open
) -> None:
    installs = open_installs(replace(ALWAYS_ASK, stale_s=0))
    await installs.resolve("t1", "hello")
    registry.misbehave = server_error
    with pytest.raises(RegistryUnavailable):
        await installs.resolve("t1", "hello")


async def test_a_registry_that_is_down_is_not_asked_for_every_call(
    registry: FakeRegistry, open_installs: Open
) -> None:
    installs = open_installs(replace(ALWAYS_ASK, retry_after_s=3600))
    await installs.resolve("t1", "hello")
    registry.misbehave = server_error
    for _ in range(5):
        await installs.resolve("t1", "hello")
    assert registry.questions == 2


async def test_an_extension_that_was_uninstalled_is_gone_though_it_is_remembered(
    registry: FakeRegistry, open_installs: Open
) -> None:
    installs = open_installs()
    await installs.resolve("t1", "hello")
    del registry.installs["t1", "hello"]
    with pytest.raises(ExtensionNotInstalled):
        await installs.resolve("t1", "hello")
    registry.misbehave = server_error
    with pytest.raises(RegistryUnavailable):
        await installs.resolve("t1", "hello")


async def test_a_registry_that_is_not_there_is_unavailable(
    registry: FakeRegistry, open_installs: Open
) -> None:
    await registry.stop()
    with pytest.raises(RegistryUnavailable) as caught:
        await open_installs().resolve("t1", "hello")
    assert caught.value.reason == "connect_failed"
    assert caught.value.retry_after_s == 1


async def test_a_registry_that_stalls_is_left_after_the_budget(
    registry: FakeRegistry, open_installs: Open
) -> None:
    registry.may_answer.clear()
    with pytest.raises(RegistryUnavailable) as caught:
        await open_installs(IMPATIENT).resolve("t1", "hello")
    assert caught.value.reason == "timeout"


async def test_a_wrong_token_is_told_apart_and_not_told(open_installs: Open) -> None:
    with pytest.raises(RegistryUnavailable) as caught:
        await open_installs(token="wrong-token").resolve("t1", "hello")
    assert caught.value.reason == "credentials_refused"
    assert "wrong-token" not in repr(caught.value)


async def test_an_install_without_a_bundle_is_not_installed(
    registry: FakeRegistry, open_installs: Open
) -> None:
    registry.installs["t1", "hello"]["contentHash"] = None
    with pytest.raises(ExtensionNotInstalled) as caught:
        await open_installs().resolve("t1", "hello")
    assert caught.value.reason == "no_content_hash"


async def test_an_endless_name_is_not_asked_about(
    registry: FakeRegistry, open_installs: Open
) -> None:
    with pytest.raises(ExtensionNotInstalled):
        await open_installs().resolve("t1", "x" * 10_000)
    assert registry.questions == 0


async def test_closing_ends_questions_that_are_under_way(
    registry: FakeRegistry, open_installs: Open
) -> None:
    registry.may_answer.clear()
    installs = open_installs()
    caller = asyncio.create_task(installs.resolve("t1", "hello"))
    await registry.asked.get()
    await installs.aclose()
    await installs.aclose()
    with pytest.raises(RegistryUnavailable):
        await caller
    with pytest.raises(RegistryUnavailable):
        await installs.resolve("t1", "hello")
