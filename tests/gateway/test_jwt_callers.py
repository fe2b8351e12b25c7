"""Callers with tokens, and the identity provider behind them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.callers.jwt_key_fetching import (
    MAX_ANSWER_BYTES,
    FetchedKeys,
    FetchTimes,
    KeysNotFetched,
)
from middleware.errors import IdentityUnavailable
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import FakeRunner
from tests.gateway.harness import Gateway, in_front_of, running

HELLO = "/api/ext/acme.crm/hello"


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider() as started:
        yield started


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as fake:
        yield fake


def _told(runner: FakeRunner, **more: str) -> dict[str, str]:
    return in_front_of(
        runner,
        GATEWAY_AUTH="jwt",
        GATEWAY_JWT_ISSUER=ISSUER,
        GATEWAY_JWT_AUDIENCE=AUDIENCE,
        **more,
    )


@pytest.fixture
async def gateway(provider: IdentityProvider, runner: FakeRunner) -> AsyncIterator[Gateway]:
    async with running(_told(runner, GATEWAY_JWT_JWKS_URL=provider.url)) as started:
        yield started


async def _call(gateway: Gateway, token: str, path: str = HELLO) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with gateway.client.get(gateway.url + path, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_the_token_says_whose_call_it_is_and_goes_no_further(
    gateway: Gateway, provider: IdentityProvider, runner: FakeRunner
) -> None:
    person = {"email": "ada@example.com", "name": "Ada", "user_type": "internal"}
    assert await _call(gateway, provider.token(**person)) == 200
    (executed,) = runner.executed
    assert executed.headers["x-alga-tenant"] == "acme"
    assert executed.envelope["user"]["user_name"] == "Ada"
    assert "authorization" not in executed.headers
    assert "eyJ" not in json.dumps(executed.envelope)


async def test_who_has_no_token_or_a_bad_one_is_told_how_to_come(
    gateway: Gateway, provider: IdentityProvider, runner: FakeRunner
) -> None:
    status, problem = await gateway.problem("GET", HELLO)
    assert (status, problem["reason"]) == (401, "missing_token")
    bad = {"Authorization": f"Bearer {provider.token(aud='other')}"}
    async with gateway.client.get(gateway.url + HELLO, headers=bad) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="gateway", error="invalid_token"'
        assert (await answer.json(content_type=None))["reason"] == "token_of_another_audience"
    assert runner.executed == []


async def test_a_page_needs_no_token_once_its_address_was_asked_for(
    gateway: Gateway, provider: IdentityProvider, runner: FakeRunner
) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    where = f"{gateway.url}/gateway/v1/extensions/acme.crm/ui-url"
    async with gateway.client.get(where, headers=headers) as answer:
        url = (await answer.json())["url"]
    async with gateway.client.get(gateway.url + url) as page:
        assert page.status == 200
    assert runner.received[-1].headers["x-tenant-id"] == "acme"


async def test_keys_are_fetched_once_and_by_no_request(
    gateway: Gateway, provider: IdentityProvider
) -> None:
    statuses = await asyncio.gather(*(_call(gateway, provider.token()) for _ in range(20)))
    assert set(statuses) == {200}
    assert provider.asked == 1


async def test_no_identity_provider_is_a_503_until_there_is_one(
    provider: IdentityProvider, runner: FakeRunner
) -> None:
    provider.status = 503
    async with running(_told(runner, GATEWAY_JWT_JWKS_URL=provider.url)) as gateway:
        headers = {"Authorization": f"Bearer {provider.token()}"}
        async with gateway.client.get(gateway.url + HELLO, headers=headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            problem = await answer.json(content_type=None)
            assert problem["error"] == "identity_unavailable"
            assert problem["retryable"] is True
        provider.status = 200
        async with asyncio.timeout(30):
            while await _call(gateway, provider.token()) != 200:  # noqa: ASYNC110  it polls
                await asyncio.sleep(0.05)


async def test_a_reload_to_keys_that_cannot_be_had_is_refused_whole(
    gateway: Gateway, provider: IdentityProvider
) -> None:
    async with IdentityProvider() as other:
        other.status = 503
        gateway.environ["GATEWAY_JWT_JWKS_URL"] = other.url
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            receipt = await answer.json()
            assert (receipt["outcome"], receipt["reason"]) == (
                "refused",
                "caller_keys_answered_503",
            )
        assert await _call(gateway, provider.token()) == 200

        other.status = 200
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            assert (await answer.json())["outcome"] == "switched"
        assert await _call(gateway, other.token()) == 200
        assert await _call(gateway, provider.token()) == 401


async def test_a_swap_of_the_backend_leaves_the_keys_alone(
    gateway: Gateway, provider: IdentityProvider
) -> None:
    async with FakeRunner() as another:
        gateway.environ["RUNNER_DOCKER_HOST"] = another.url
        provider.status = 503
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            assert (await answer.json())["outcome"] == "switched"
        assert await _call(gateway, provider.token()) == 200
    assert provider.asked == 1


async def test_a_key_file_is_read_again_by_a_reload(
    provider: IdentityProvider, runner: FakeRunner, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(provider.document))
    async with running(_told(runner, GATEWAY_JWT_KEY_FILE=str(file))) as gateway:
        before = provider.token()
        assert await _call(gateway, before) == 200
        provider.rotate("second")
        file.write_text(json.dumps(provider.document))
        assert await _call(gateway, provider.token()) == 401
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            assert (await answer.json())["changed"] == ["GATEWAY_JWT_KEY_FILE"]
        assert await _call(gateway, provider.token()) == 200
        assert await _call(gateway, before) == 401
    assert provider.asked == 0


SOON = FetchTimes(total_s=2, every_s=3600, after_failure_s=0.05, apart_s=0)


async def _known_soon(keys: FetchedKeys, kid: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                assert keys.find(kid) is not None
            except IdentityUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_new_key_is_fetched_when_a_token_names_it_and_once_for_all_who_do(
    provider: IdentityProvider,
) -> None:
    keys = FetchedKeys(provider.url, SOON)
    await keys.start()
    try:
        before = keys.version
        provider.rotate("second")
        provider.may_answer.clear()
        for _ in range(50):
            with pytest.raises(IdentityUnavailable):
                keys.find("second")
            await asyncio.sleep(0)
        provider.may_answer.set()
        await _known_soon(keys, "second")
        assert provider.asked == 2
        assert keys.version is not before
    finally:
        await keys.aclose()


async def test_made_up_key_ids_cause_no_fetch_shortly_after_one(provider: IdentityProvider) -> None:
    keys = FetchedKeys(provider.url, FetchTimes(apart_s=3600))
    await keys.start()
    try:
        for number in range(50):
            assert keys.find(f"made-up-{number}") is None
            await asyncio.sleep(0)
        assert provider.asked == 1
    finally:
        await keys.aclose()


async def test_what_was_fetched_serves_while_the_provider_is_away_but_not_for_ever(
    provider: IdentityProvider,
) -> None:
    keys = FetchedKeys(provider.url, SOON)
    await keys.start()
    try:
        provider.status = 503
        with pytest.raises(IdentityUnavailable):
            keys.find("unknown")
        while provider.asked < 2:  # noqa: ASYNC110  it polls
            await asyncio.sleep(0.01)
        assert keys.find("first") is not None
    finally:
        await keys.aclose()
    provider.status = 200
    forgetful = FetchedKeys(provider.url, FetchTimes(trusted_s=0))
    await forgetful.start()
    await forgetful.aclose()
    with pytest.raises(IdentityUnavailable):
        forgetful.find("first")


async def test_an_answer_that_is_no_key_set_is_refused_for_what_it_is(
    provider: IdentityProvider,
) -> None:
    async def refused() -> str:
        keys = FetchedKeys(provider.url, FetchTimes(total_s=0.5))
        with pytest.raises(KeysNotFetched) as caught:
            await keys.start()
        await keys.aclose()
        return caught.value.reason

    provider.status = 302
    assert await refused() == "answered_302"
    provider.status = 200
    provider.padding = b"<html>"
    assert await refused() == "no_usable_key"
    provider.padding = b" " * (MAX_ANSWER_BYTES + 1)
    assert await refused() == "answer_too_long"
    provider.may_answer.clear()
    assert await refused() == "no_answer_in_time"
