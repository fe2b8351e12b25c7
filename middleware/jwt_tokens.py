"""Bearer tokens that an identity provider signed: genuine, meant for us, and still good?

Nothing here waits or asks anybody: keys are what `Keys` has at hand. Checking a signature
costs as much as the rest of a request, so what was found genuine is remembered until it expires
or the keys change.

Sources: RFC 7519 (JWT), RFC 7517 (JWK), RFC 8725 (what to insist on), RFC 6750 (the header).
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from middleware.errors import Unauthenticated

if TYPE_CHECKING:  # it loads the cryptography library, for those who are shown a token
    from jwt import PyJWTError

MISSING: Final = 'Bearer realm="gateway"'
INVALID: Final = 'Bearer realm="gateway", error="invalid_token"'

_REMEMBERED: Final = 1024
_MAX_TOKEN: Final = 8192  # characters
_ALWAYS: Final = ["exp", "iss", "aud"]
_YEAR_10000: Final = 253_402_300_800
"""An `exp` from here on is in milliseconds: RFC 7519 counts seconds, by which such a token would
be good for fifty thousand years."""

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key, and the algorithms that it may be used with and no other."""

    kid: str | None
    algorithms: frozenset[str]
    material: Any = field(repr=False)  # what cryptography made of it; bytes for HS*


class Keys(Protocol):
    """The keys known now."""

    @property
    def version(self) -> object:
        """Another value after every change of the keys."""

    def find(self, kid: str | None, /) -> SigningKey | None:
        """The key of this id; without an id the only key there is. Never waits.

        Raises:
            IdentityUnavailable: nobody can say yet; ask again in a moment.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuth:
    """Whoever has a token of this issuer, made for this audience, is whom it names.

    Args:
        algorithms: the only ones that count (RFC 8725 section 3.1).
        leeway_s: by how much the issuer's clock may differ from this one.
        tenant_claim: the claim that holds the tenant.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    leeway_s: float
    tenant_claim: str
    keys: Keys = field(repr=False, compare=False)
    genuine: "Genuine" = field(default_factory=lambda: Genuine(), repr=False, compare=False)

    def claims(self, token: str) -> Claims:
        """What a token says, once it is known to be true.

        Raises:
            Unauthenticated: the reason says why it is not believed.
            IdentityUnavailable: its key may be known in a moment.
        """
        version = self.keys.version
        known = self.genuine.find(token, version, now=time.time() - self.leeway_s)
        if known is None:
            known = self._verified(token)
            self.genuine.remember(token, version, known)
        return known

    def _verified(self, token: str) -> Claims:
        key = self.keys.find(_key_id(token))
        if key is None:
            raise _refused("token_of_an_unknown_key")
        allowed = self.algorithms & key.algorithms
        if not allowed:
            raise _refused("token_of_another_algorithm")
        import jwt

        try:
            claims: Claims = jwt.decode(
                token,
                key.material,
                algorithms=sorted(allowed),
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.leeway_s,
                options={"require": _ALWAYS},
            )
        except jwt.PyJWTError as why:
            raise _refused(_reason(why)) from None  # its text quotes the token
        except (ValueError, TypeError, RecursionError):  # a signature of a wrong length, say
            raise _refused("token_unreadable") from None
        if int(claims["exp"]) >= _YEAR_10000:
            raise _refused("token_not_in_seconds")
        return claims


class Genuine:
    """The tokens lately found genuine, the oldest forgotten first."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._version: object = None
        self._known: OrderedDict[str, tuple[float, Claims]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str, version: object, *, now: float) -> Claims | None:
        """The claims of a token that was genuine under these keys and expires after `now`."""
        if version is not self._version:
            self._known.clear()  # its key may have been withdrawn
            self._version = version
        expires_at, claims = self._known.get(token, (now, None))
        if expires_at <= now:
            self._known.pop(token, None)
            return None
        return claims

    def remember(self, token: str, version: object, claims: Claims) -> None:
        if version is self._version:
            # PyJWT lets `exp` be a number in quotes, too.
            self._known[token] = (float(claims["exp"]), claims)
            if len(self._known) > self._limit:
                self._known.popitem(last=False)


def _key_id(token: str) -> str | None:
    if len(token) > _MAX_TOKEN or not token.isascii():
        raise _refused("token_unreadable")
    import jwt

    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _refused("token_unreadable") from None
    return kid if isinstance(kid, str) else None


def _refused(reason: str) -> Unauthenticated:
    return Unauthenticated(reason, challenge=INVALID)


_REASONS: Final = {
    "ExpiredSignatureError": "token_expired",
    "ImmatureSignatureError": "token_not_valid_yet",
    "InvalidAudienceError": "token_of_another_audience",
    "InvalidIssuerError": "token_of_another_issuer",
    "MissingRequiredClaimError": "token_incomplete",
    "InvalidAlgorithmError": "token_of_another_algorithm",
    "InvalidSignatureError": "token_not_genuine",
    "InvalidKeyError": "token_of_another_algorithm",
}
"""By the name of PyJWT's exception, or of the nearest class that it is made from."""


def _reason(why: "PyJWTError") -> str:
    names = [kind.__name__ for kind in type(why).__mro__]
    return next((_REASONS[name] for name in names if name in _REASONS), "token_unreadable")
