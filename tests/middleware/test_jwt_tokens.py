import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from backends.contract import User
from middleware.caller import identify
from middleware.errors import TenantMismatch, Unauthenticated
from middleware.jwt_tokens import Genuine, JwtAuth, SigningKey

SIGNER = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SECRET = b"a-secret-of-at-least-thirty-two-bytes"


class Keyring:
    """Keys that a test names."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = keys
        self.looked_up = 0

    @property
    def version(self) -> object:
        return self.keys

    def find(self, kid: str | None, /) -> SigningKey | None:
        self.looked_up += 1
        return next((key for key in self.keys if key.kid == kid), None)


def _key(kid: str = "k1", signer: Any = SIGNER, *algorithms: str) -> SigningKey:
    return SigningKey(
        kid=kid,
        algorithms=frozenset(algorithms or ("ES256",)),
        material=signer if isinstance(signer, bytes) else signer.public_key(),
    )


def _auth(keys: Keyring | None = None, *algorithms: str) -> JwtAuth:
    return JwtAuth(
        issuer="https://id.example",
        audience="gateway",
        algorithms=frozenset(algorithms or ("RS256", "ES256")),
        leeway_s=5,
        tenant_claim="tenant_id",
        keys=keys or Keyring(_key()),
    )


def _claims(**changed: object) -> dict[str, object]:
    now = time.time()
    told: dict[str, object] = {
        "iss": "https://id.example",
        "aud": ["other", "gateway"],
        "exp": now + 60,
        "tenant_id": "acme",
        **changed,
    }
    return {name: value for name, value in told.items() if value is not None}


def _token(signer: Any = SIGNER, algorithm: str = "ES256", kid: str = "k1", **changed: Any) -> str:
    return jwt.encode(_claims(**changed), signer, algorithm=algorithm, headers={"kid": kid})


def _bearer(token: str, **more: str) -> CIMultiDict[str]:
    fields = {name.replace("_", "-"): value for name, value in more.items()}
    return CIMultiDict({"Authorization": f"Bearer {token}", **fields})


def _why(auth: JwtAuth, headers: CIMultiDict[str]) -> str:
    with pytest.raises(Unauthenticated) as caught:
        identify(auth, headers)
    assert caught.value.challenge.startswith('Bearer realm="gateway"')
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.reason


def test_a_genuine_token_names_tenant_and_person() -> None:
    person = {"sub": "u1", "email": "ada@example.com", "name": "Ada", "user_type": "client"}
    known = identify(_auth(), _bearer(_token(**person, client_id="c1")))
    assert (known.tenant_id, known.via) == ("acme", "jwt")
    assert known.user == User(
        user_id="u1",
        user_email="ada@example.com",
        user_name="Ada",
        user_type="client",
        client_id="c1",
    )


@pytest.mark.parametrize("email", [7, None, "half a pair \ud800"])
def test_half_a_person_is_nobody(email: object) -> None:
    token = _token(sub="u1", name="Ada", user_type="client", email=email)
    assert identify(_auth(), _bearer(token)).user is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": time.time() - 60}, "token_expired"),
        ({"exp": None}, "token_incomplete"),
        ({"exp": (int(time.time()) + 60) * 1000}, "token_not_in_seconds"),
        ({"exp": str((int(time.time()) + 60) * 1000)}, "token_not_in_seconds"),
        ({"exp": 10**400}, "token_not_in_seconds"),
        ({"nbf": time.time() + 86_400}, "token_not_valid_yet"),
        ({"aud": "other"}, "token_of_another_audience"),
        ({"aud": None}, "token_incomplete"),
        ({"iss": "https://evil.example"}, "token_of_another_issuer"),
        ({"iss": None}, "token_incomplete"),
        ({"tenant_id": None}, "token_without_tenant"),
        ({"tenant_id": "../acme"}, "token_without_tenant"),
        ({"tenant_id": ["acme"]}, "token_without_tenant"),
        ({"kid": "k2"}, "token_of_an_unknown_key"),
        ({"signer": OTHER}, "token_not_genuine"),
        ({"signer": RSA, "algorithm": "RS256"}, "token_of_another_algorithm"),
    ],
)
def test_any_other_token_is_refused_and_the_reason_said(
    changed: dict[str, Any], reason: str
) -> None:
    assert _why(_auth(), _bearer(_token(**changed))) == reason


def test_a_token_may_be_good_until_the_year_9999() -> None:
    assert identify(_auth(), _bearer(_token(exp=253_402_300_799))).tenant_id == "acme"


def test_clocks_may_differ_a_little() -> None:
    token = _token(exp=time.time() - 2, nbf=time.time() + 2)
    assert identify(_auth(), _bearer(token)).tenant_id == "acme"


def _unsigned() -> str:
    rest = _token().partition(".")[2]
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"k1"}').rstrip(b"=").decode()
    return f"{none}.{rest.partition('.')[0]}."


def _signed_with_the_public_key() -> str:
    """The classic: an HMAC whose secret is the issuer's public key (RFC 8725 section 2.1)."""
    pem = SIGNER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def part(document: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{part(_claims())}"
    digest = hmac.digest(pem, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@pytest.mark.parametrize("forged", [_unsigned(), _signed_with_the_public_key()])
@pytest.mark.parametrize("algorithms", [("ES256",), ("ES256", "HS256", "RS256")])
def test_a_token_does_not_choose_how_it_is_checked(
    forged: str, algorithms: tuple[str, ...]
) -> None:
    assert _why(_auth(None, *algorithms), _bearer(forged)) == "token_of_another_algorithm"


def test_a_shared_secret_counts_where_the_operator_says_so() -> None:
    keys = Keyring(_key("k1", SECRET, "HS256"))
    token = _token(SECRET, "HS256")
    assert identify(_auth(keys, "HS256"), _bearer(token)).tenant_id == "acme"
    assert _why(_auth(keys), _bearer(token)) == "token_of_another_algorithm"


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic abc", "Token abc"])
def test_no_token_is_missing_not_wrong(value: str) -> None:
    assert _why(_auth(), CIMultiDict({"Authorization": value})) == "missing_token"
    assert _why(_auth(), CIMultiDict()) == "missing_token"


DEEP = base64.urlsafe_b64encode(b"[" * 6000).decode()
NUMBER = base64.urlsafe_b64encode(b'{"alg":7,"kid":7}').decode().rstrip("=")


@pytest.mark.parametrize(
    "token", ["x", "a.b.c", "....", "\udcff.b.c", f"{DEEP}.b.c", f"{NUMBER}.e30.e30", "a" * 9000]
)
def test_a_token_that_is_none_is_refused(token: str) -> None:
    assert _why(_auth(), _bearer(token)).startswith("token_")


@given(st.text(max_size=60), st.binary(max_size=60))
def test_no_token_breaks_the_door(text: str, raw: bytes) -> None:
    head, _, rest = _token().partition(".")
    piece = base64.urlsafe_b64encode(raw).decode()
    for token in (text, f"{text}.{text}", f"{piece}.{rest}", f"{head}.{piece}.{piece}"):
        with pytest.raises(Unauthenticated):
            identify(_auth(), CIMultiDict({"Authorization": f"Bearer {token}"}))


def test_a_tenant_that_is_named_besides_must_be_the_same() -> None:
    token = _token()
    assert identify(_auth(), _bearer(token, x_alga_tenant="acme")).tenant_id == "acme"
    for name in ("x_alga_tenant", "x_tenant_id"):
        with pytest.raises(TenantMismatch):
            identify(_auth(), _bearer(token, **{name: "other"}))


def test_a_genuine_token_is_checked_once_until_the_keys_change() -> None:
    keys = Keyring(_key())
    auth, token = _auth(keys), _token()
    for _ in range(3):
        identify(auth, _bearer(token))
    assert keys.looked_up == 1
    keys.keys = (_key("k1", OTHER),)
    assert _why(auth, _bearer(token)) == "token_not_genuine"


def test_what_is_remembered_expires_and_is_bounded() -> None:
    genuine, version = Genuine(limit=2), object()
    for number in range(3):
        genuine.find(str(number), version, now=0)
        genuine.remember(str(number), version, {"exp": "10"})
    assert len(genuine) == 2
    assert genuine.find("0", version, now=0) is None
    assert genuine.find("2", version, now=9) == {"exp": "10"}
    assert genuine.find("2", version, now=10) is None
    assert len(genuine) == 1


def test_a_forged_token_is_never_remembered() -> None:
    auth = _auth()
    for _ in range(2):
        assert _why(auth, _bearer(_token(OTHER))) == "token_not_genuine"
    assert len(auth.genuine) == 0
