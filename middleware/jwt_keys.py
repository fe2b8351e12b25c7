"""The keys that an identity provider's tokens are checked with, out of a file or an answer.

Sources: RFC 7517 (JWK, JWK Set), RFC 7518 section 3 (which key an algorithm takes),
RFC 8037 (Ed25519).

The cryptography library is loaded when there is a key to read: a gateway that knows its callers
in another way is spared its 8 MiB.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from middleware.jwt_tokens import SigningKey

MAX_KEYS: Final = 100
SHARED: Final = frozenset({"HS256", "HS384", "HS512"})
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS: Final = frozenset({*SHARED, *_RSA, *_CURVES.values(), "EdDSA"})

_MIN_RSA_BITS: Final = 2048
_MIN_SHARED_BYTES: Final = 32  # RFC 7518 section 3.2, for HS256


class NoUsableKey(ValueError):
    """Nothing in there can check a signature; the message says why and quotes none of it."""


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """A set of keys that does not change.

    It crosses to a worker's process as what it was read from: keys themselves cannot.
    """

    keys: tuple[SigningKey, ...]
    content: bytes = field(repr=False, compare=False)
    shared_secrets: bool = field(compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(read_keys, shared_secrets=self.shared_secrets), (self.content,)

    @property
    def version(self) -> object:
        return self.keys

    def find(self, kid: str | None, /) -> SigningKey | None:
        """See Keys.find. A key without an id of its own, alone, is every token's key."""
        if len(self.keys) == 1 and (kid is None or self.keys[0].kid is None):
            return self.keys[0]
        return next((key for key in self.keys if kid is not None and key.kid == kid), None)


def read_keys(content: bytes, *, shared_secrets: bool) -> KnownKeys:
    """The keys of a JWK Set, a JWK, or a public key in PEM.

    Members that are no key for signatures, or that nobody here knows, are passed over
    (RFC 7517 section 5).

    Args:
        shared_secrets: whether `oct` keys count. A secret that is served to everybody is none.

    Raises:
        NoUsableKey: none is left.
    """
    text = content.lstrip()
    if text.startswith(b"-----"):
        return KnownKeys((_from_pem(text),), content, shared_secrets)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise NoUsableKey("it is neither a JWK Set nor a public key in PEM") from None
    members = document.get("keys", [document]) if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise NoUsableKey(f"it is no JWK Set, or one of more than {MAX_KEYS} keys")
    keys = tuple(_usable(members, shared_secrets=shared_secrets))
    if not keys:
        raise NoUsableKey("it holds no key that can check a signature")
    return KnownKeys(keys, content, shared_secrets)


def _usable(members: Iterable[object], *, shared_secrets: bool) -> Iterable[SigningKey]:
    for member in members:
        if isinstance(member, dict) and member.get("use", "sig") == "sig":
            key = _from_jwk(member)
            if key is not None and (shared_secrets or not key.algorithms <= SHARED):
                yield key


def _from_jwk(member: Mapping[str, Any]) -> SigningKey | None:
    import jwt

    try:
        material = jwt.PyJWK(dict(member)).key
        algorithms = _algorithms_of(material)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if "alg" in member:
        algorithms &= {member["alg"]} if isinstance(member["alg"], str) else frozenset()
    kid = member.get("kid")
    if not algorithms:
        return None
    return SigningKey(
        kid=kid if isinstance(kid, str) else None, algorithms=algorithms, material=material
    )


def _from_pem(content: bytes) -> SigningKey:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        material = load_pem_public_key(content)
        return SigningKey(kid=None, algorithms=_algorithms_of(material), material=material)
    except NoUsableKey:
        raise
    except (ValueError, TypeError):
        raise NoUsableKey("it is no public key in PEM") from None


def _algorithms_of(material: object) -> frozenset[str]:
    """What a key may be used with: never another family's algorithm (RFC 8725 section 2.1).

    Raises:
        NoUsableKey: too short, or of a kind that tokens are not signed with here.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    match material:
        case RSAPublicKey() if material.key_size >= _MIN_RSA_BITS:
            return _RSA
        case EllipticCurvePublicKey() if material.curve.name in _CURVES:
            return frozenset({_CURVES[material.curve.name]})
        case Ed25519PublicKey():
            return frozenset({"EdDSA"})
        case bytes() if len(material) >= _MIN_SHARED_BYTES:
            return SHARED
        case _:
            raise NoUsableKey(
                f"its key is of another kind, or shorter than {_MIN_RSA_BITS} bits of RSA"
                f" or {_MIN_SHARED_BYTES} bytes of a shared secret"
            )
