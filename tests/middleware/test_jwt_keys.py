import json
import pickle
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from middleware.jwt_keys import MAX_KEYS, NoUsableKey, read_keys

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
EC = ec.generate_private_key(ec.SECP384R1()).public_key()
ED = ed25519.Ed25519PrivateKey.generate().public_key()
SHARED = {"kty": "oct", "k": "YS1zZWNyZXQtb2YtYXQtbGVhc3QtdGhpcnR5LXR3by1ieXRlcw"}


def _jwk(key: Any, **more: object) -> dict[str, object]:
    algorithms = jwt.algorithms
    match key:
        case rsa.RSAPublicKey():
            told = algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
        case ec.EllipticCurvePublicKey():
            told = algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
        case _:
            told = algorithms.OKPAlgorithm.to_jwk(key, as_dict=True)
    return {**told, **more}


def _read(*members: object, shared_secrets: bool = False) -> dict[str | None, frozenset[str]]:
    content = json.dumps({"keys": members}).encode()
    known = read_keys(content, shared_secrets=shared_secrets)
    return {key.kid: key.algorithms for key in known.keys}


def test_a_key_is_good_for_its_own_familys_algorithms() -> None:
    read = _read(_jwk(RSA, kid="rsa"), _jwk(EC, kid="ec"), _jwk(ED, kid="ed"))
    assert read["ec"] == {"ES384"}
    assert read["ed"] == {"EdDSA"}
    assert "RS256" in read["rsa"]
    assert not any(name.startswith("HS") for name in read["rsa"])


def test_a_key_that_names_its_algorithm_is_good_for_no_other() -> None:
    assert _read(_jwk(RSA, kid="rsa", alg="PS256")) == {"rsa": frozenset({"PS256"})}


def test_what_is_no_key_for_signatures_is_passed_over() -> None:
    read = _read(
        _jwk(EC, kid="good"),
        _jwk(EC, kid="encrypts", use="enc"),
        _jwk(WEAK, kid="weak"),
        _jwk(RSA, kid="confused", alg="HS256"),
        {"kty": "new", "kid": "unknown"},
        {"kty": "EC"},
        "no key",
        7,
    )
    assert list(read) == ["good"]


def test_a_secret_that_is_served_is_none() -> None:
    assert list(_read(_jwk(EC, kid="ec"), {**SHARED, "kid": "s"})) == ["ec"]
    assert list(_read({**SHARED, "kid": "s"}, shared_secrets=True)) == ["s"]
    with pytest.raises(NoUsableKey):
        _read({**SHARED, "k": "c2hvcnQ"}, shared_secrets=True)


def test_a_public_key_in_pem_is_every_tokens_key() -> None:
    pem = RSA.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    known = read_keys(pem, shared_secrets=False)
    assert known.find(None) == known.find("any") == known.keys[0]


def test_a_token_without_a_key_id_is_checked_only_where_there_is_one_key() -> None:
    one = read_keys(json.dumps(_jwk(EC, kid="a")).encode(), shared_secrets=False)
    assert one.find(None) is one.keys[0]
    assert one.find("b") is None
    two = json.dumps({"keys": [_jwk(EC, kid="a"), _jwk(ED)]}).encode()
    assert read_keys(two, shared_secrets=False).find(None) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"keys": 7}',
        b'{"keys": []}',
        b"[" * 100_000,
        b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----",
        WEAK.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        dsa.generate_private_key(1024)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        json.dumps({"keys": [_jwk(EC)] * (MAX_KEYS + 1)}).encode(),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(NoUsableKey):
        read_keys(content, shared_secrets=True)


def test_the_same_keys_in_other_words_are_the_same_keys_also_in_another_process() -> None:
    told = {"keys": [_jwk(EC, kid="ec")]}
    plain = read_keys(json.dumps(told).encode(), shared_secrets=False)
    spaced = read_keys(json.dumps(told, indent=2).encode(), shared_secrets=False)
    assert plain == spaced
    assert pickle.loads(pickle.dumps(spaced)) == plain
