"""Identity providers that give keys, that give something else, and that are not there."""

import pytest

from gateway.doctor.findings import Level
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.gateway.doctor.rig import of, the_one, visit


def by_tokens(url: str) -> dict[str, str]:
    return {
        "GATEWAY_AUTH": "jwt",
        "GATEWAY_JWT_ISSUER": ISSUER,
        "GATEWAY_JWT_AUDIENCE": AUDIENCE,
        "GATEWAY_JWT_JWKS_URL": url,
    }


async def test_keys_that_come_are_counted() -> None:
    async with IdentityProvider() as provider:
        findings = await visit(**by_tokens(provider.url))
        assert provider.asked == 1
    assert the_one(findings, "identity", "keys from http://127.0.0.1").what.endswith(": 1")


@pytest.mark.parametrize(
    ("status", "padding", "word", "remedy"),
    [
        (503, b"", "answered_503", "a 200"),
        (200, b"<html>", "no_usable_key", "jwks_uri"),
        (200, b" " * 300_000, "answer_too_long", "nothing larger"),
    ],
)
async def test_an_address_without_keys_is_found(
    status: int, padding: bytes, word: str, remedy: str
) -> None:
    async with IdentityProvider() as provider:
        provider.status, provider.padding = status, padding
        found = the_one(await visit(**by_tokens(provider.url)), "identity", word)
    assert found.level is Level.FAILED
    assert remedy in found.fix


async def test_a_provider_that_is_away_is_found() -> None:
    async with IdentityProvider() as provider:
        url = provider.url
    assert the_one(await visit(**by_tokens(url)), "identity", "unreachable").level is Level.FAILED


async def test_one_that_never_answers_is_found_in_time() -> None:
    async with IdentityProvider() as provider:
        provider.may_answer.clear()
        found = the_one(await visit(**by_tokens(provider.url)), "identity", "no_answer_in_time")
        provider.may_answer.set()
    assert found.level is Level.FAILED


async def test_callers_known_otherwise_need_no_provider() -> None:
    assert of(await visit(), "identity") == []
