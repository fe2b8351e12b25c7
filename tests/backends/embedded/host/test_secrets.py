"""Secrets: opened or refused whole, and never part of an error."""

import base64
import json
import traceback

import pytest

from backends.contract import SecretEnvelope
from backends.embedded.host.call import Err, Ok
from backends.embedded.host.secrets import SecretsUnreadable, open_secrets
from backends.embedded.host.services import HostServices
from tests.backends.embedded.host.calls import ask, call_of


def sealed(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def reason_for(envelope: SecretEnvelope) -> str:
    with pytest.raises(SecretsUnreadable) as caught:
        open_secrets(envelope)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", [None, "inline/base64", "anything"])
def test_an_inline_envelope_opens(algorithm: str | None) -> None:
    envelope = SecretEnvelope(
        ciphertext_b64=sealed({"a": "1"}) + "\n",
        algorithm=algorithm,
        expires_at="2999-01-01T00:00:00Z",
    )
    assert open_secrets(envelope) == {"a": "1"}


@pytest.mark.parametrize(
    "expires_at", [None, "", " ", "2999-01-01t00:00:00z", "2999-01-01t00:00:00.123456789+02:00"]
)
def test_an_envelope_that_is_still_good_opens(expires_at: str | None) -> None:
    envelope = SecretEnvelope(ciphertext_b64=sealed({"a": "1"}), expires_at=expires_at)
    assert open_secrets(envelope) == {"a": "1"}


@pytest.mark.parametrize("algorithm", [None, "vault-transit:v1"])
def test_no_envelope_is_not_an_empty_one(algorithm: str | None) -> None:
    assert open_secrets(None) is None
    assert open_secrets(SecretEnvelope(ciphertext_b64=" ", algorithm=algorithm)) == {}


@pytest.mark.parametrize("algorithm", ["vault-transit", "Vault-Transit:v1"])
def test_a_vaults_envelope_is_refused_by_name(algorithm: str) -> None:
    envelope = SecretEnvelope(ciphertext_b64=sealed({"a": "1"}), algorithm=algorithm)
    assert reason_for(envelope) == "vault_not_configured"


@pytest.mark.parametrize(
    "expires_at", ["2001-01-01T00:00:00Z", "2001-01-01T02:00:00.5+02:00", "2001-01-01t00:00:00z"]
)
def test_an_expired_envelope_is_refused(expires_at: str) -> None:
    envelope = SecretEnvelope(ciphertext_b64=sealed({"a": "1"}), expires_at=expires_at)
    assert reason_for(envelope) == "expired"


@pytest.mark.parametrize("expires_at", ["soon", "z", "2999-01-01T00:00:00"])
def test_an_expiry_that_cannot_be_read_is_not_taken_for_never(expires_at: str) -> None:
    envelope = SecretEnvelope(ciphertext_b64=sealed({"a": "1"}), expires_at=expires_at)
    assert reason_for(envelope) == "expiry_malformed"


@pytest.mark.parametrize(
    "ciphertext",
    [
        "hunter2!",
        "!" + sealed({"a": "hunter2"}),
        base64.b64encode(b'{"a": "hunter2').decode(),
        base64.b64encode(b"\xffhunter2").decode(),
        sealed(["hunter2"]),
        sealed({"a": 2, "b": "hunter2"}),
        sealed({"a": None}),
    ],
)
def test_a_malformed_envelope_is_refused_without_a_word_of_its_content(ciphertext: str) -> None:
    with pytest.raises(SecretsUnreadable) as caught:
        open_secrets(SecretEnvelope(ciphertext_b64=ciphertext))
    assert caught.value.reason == "ciphertext_malformed"
    assert caught.value.__context__ is None  # a decoder's error would carry the document
    assert "hunter2" not in "".join(traceback.format_exception_only(caught.value))


async def test_a_guest_reads_its_secrets_by_name(services: HostServices) -> None:
    call = call_of(services, secrets={"b": "2", "a": "1"})
    assert await ask(call, "secrets", "get", "a") == Ok("1")
    assert await ask(call, "secrets", "get", "c") == Err("missing")
    assert await ask(call, "secrets", "list-keys") == ["a", "b"]


async def test_without_an_envelope_every_secret_is_missing(services: HostServices) -> None:
    assert await ask(call_of(services), "secrets", "get", "a") == Err("missing")
    assert await ask(call_of(services), "secrets", "list-keys") == []


async def test_without_the_capability_secrets_are_denied_and_unlisted(
    services: HostServices,
) -> None:
    call = call_of(services, granted=frozenset(), secrets={"a": "1"})
    assert await ask(call, "secrets", "get", "a") == Err("denied")
    assert await ask(call, "secrets", "list-keys") == []
