"""A page was fetched: its handler is warmed beside the traffic, once, and only where it helps."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from backends.bundles.pack import pack
from backends.bundles.store import BundleStore
from backends.contract import AssetRequest
from backends.errors import RunnerUnreachable
from backends.knative import open_knative
from backends.knative_path.warming import AT_ONCE, STAYS_WARM_S, Warming
from tests.backends.calls import asset_request, execute_request
from tests.backends.test_contract import EXAMPLE
from tests.fakes.runner import FakeRunner, echo
from tests.gateway.harness import HASH, running
from tests.knative.conftest import by_host, until
from tests.knative.test_metrics import behind_the_rig
from tests.rigs.knative.pods import fake_pod, real_runner_with
from tests.rigs.knative.rig import KnativeRig

PAGE = f"/runner/ext-ui/registry-1/{HASH}/index.html"


class HeldRequests:
    """Stands where requests are sent, and holds them."""

    def __init__(self) -> None:
        self.pages: list[str] = []
        self.may_answer = asyncio.Event()
        self.now = 0.0
        self.cold = False
        self.warming = Warming(self._send, is_cold=lambda: self.cold, clock=lambda: self.now)

    def fetched(self, number: int) -> None:
        self.warming.page_fetched(asset_request("index.html", content_hash=f"sha256:{number:064x}"))

    async def settled(self) -> None:
        self.may_answer.set()
        for _ in range(5):
            await asyncio.sleep(0)

    async def _send(self, page: AssetRequest) -> None:
        self.pages.append(page.content_hash)
        await self.may_answer.wait()
        if page.content_hash.endswith("e"):
            raise RunnerUnreachable("connection_refused")


async def test_a_bundle_is_never_warmed_twice_at_once_nor_while_it_is_warm() -> None:
    held = HeldRequests()
    for _ in range(3):
        held.fetched(1)
    await held.settled()
    held.fetched(1)
    await held.settled()
    assert len(held.pages) == 1
    held.now += STAYS_WARM_S
    held.fetched(1)
    await held.settled()
    held.cold = True  # scaled to zero meanwhile: what was warm is gone
    held.fetched(1)
    await held.settled()
    assert len(held.pages) == 3


async def test_a_handler_that_was_called_is_warm_and_one_that_failed_is_tried_again() -> None:
    held = HeldRequests()
    held.warming.called(f"sha256:{1:064x}")
    held.fetched(1)
    for _ in range(2):
        held.fetched(0xE)
        await held.settled()
    assert len(held.pages) == 2


async def test_few_bundles_are_warmed_at_once_and_none_after_the_end() -> None:
    held = HeldRequests()
    for number in range(2 * AT_ONCE):
        held.fetched(number)
    await asyncio.sleep(0)
    assert len(held.pages) == AT_ONCE
    await held.warming.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_a_page_is_answered_before_its_handler_is_warm(runner: FakeRunner) -> None:
    runner.guest = echo
    async with KnativeRig(fake_pod(runner), asleep=True, envoy=False) as rig:
        variables = behind_the_rig(rig, RUNNER_KNATIVE_WARM_ON_PAGE="true")
        async with running(variables) as gateway:
            async with gateway.client.get(gateway.url + PAGE) as page:
                assert page.status == 200
            async with gateway.client.get(gateway.url + PAGE.replace("index.html", "app.js")):
                pass
            await until(lambda: len(_warmed(runner)) == 1)
            async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello") as called:
                assert "server-timing" not in called.headers  # it did not wait for a start
            async with gateway.client.get(gateway.url + PAGE):
                pass
    assert rig.starts == 1
    assert len(_warmed(runner)) == 1


async def test_nothing_is_warmed_unless_it_is_asked_for(runner: FakeRunner) -> None:
    async with (
        KnativeRig(fake_pod(runner), envoy=False) as rig,
        running(behind_the_rig(rig)) as gateway,
    ):
        async with gateway.client.get(gateway.url + PAGE) as page:
            assert page.status == 200
        async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello"):
            pass
    assert _warmed(runner) == []


def _warmed(runner: FakeRunner) -> list[str]:
    return [each.target for each in runner.received if each.target.endswith("/warmup")]


@pytest.mark.knative
async def test_a_real_runner_has_compiled_the_handler_before_its_first_call(
    tmp_path: Path,
) -> None:
    store = BundleStore(tmp_path / "store")
    pack(EXAMPLE, tmp_path / "hello.tar.zst")
    content_hash = store.add(tmp_path / "hello.tar.zst").content_hash
    compiled = tmp_path / "store" / "compiled"
    opened = real_runner_with(RUNNER_BUNDLE_DIR=str(tmp_path / "store"))
    async with KnativeRig(opened, asleep=True) as rig:
        backend = await open_knative(by_host(rig, cold_start_s=60.0, warm_on_page=True))
        page = asset_request("index.html", content_hash=content_hash, timeout_s=60.0)
        answer = await backend.fetch_asset(page)
        if not isinstance(answer.body, bytes):
            await answer.body.aclose()
        assert not any(each.is_file() for each in compiled.glob("**/*"))
        backend.page_fetched(page)
        await until(lambda: any(each.is_file() for each in compiled.glob("**/*")))
        context = replace(execute_request().context, content_hash=content_hash)
        call = execute_request(method="GET", path="/hello", body=None, context=context)
        result = await backend.execute(call)
        await backend.aclose()
    assert (result.status, result.error, result.queued_ms) == (200, None, None)
    assert rig.starts == 1
