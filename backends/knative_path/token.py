"""The token that opens the ingress: read afresh, and looked at before it is sent.

A token is a secret of one audience. One that is meant for the Kubernetes API would hand the
gateway's rights in the cluster to whoever runs the ingress, so it never leaves.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backends.errors import Phase, RunnerUnreachable
from backends.files.bearer_token import BearerToken

_CLUSTER_AUDIENCES: Final = ("https://kubernetes.default.svc", "kubernetes.default.svc", "k3s")


@dataclass(frozen=True, slots=True)
class _Claims:
    expires_at: float | None  # Unix time
    audiences: frozenset[str]


class ServiceToken:
    """A bearer token out of a file, checked as far as its bearer can check it.

    The signature is the ingress's business. A token that is no JWT is sent as it is, unless an
    audience is asked for.

    Args:
        path: the projected token's file.
        audience: whom the token must be for; None: anyone but the Kubernetes API.
        clock: Unix time.
    """

    def __init__(
        self, path: Path, *, audience: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._audience = audience
        self._clock = clock
        self._file = BearerToken(path)
        self._token = ""
        self._claims: _Claims | None = None

    def __repr__(self) -> str:
        return f"ServiceToken({str(self._path)!r})"

    def read(self) -> str:
        """The token as it is now.

        Raises:
            RunnerUnreachable: "token_unreadable", "token_expired", "token_of_another_audience",
                or "token_of_the_cluster": it is for the Kubernetes API.
        """
        token = self._file.read()
        if token != self._token:
            self._claims = _claims(token)
            self._token = token
        if fault := self._fault():
            raise RunnerUnreachable(fault, phase=Phase.ADMIT)
        return token

    def reread(self) -> str:
        """The same from the file's bytes, even if the file looks unchanged."""
        self._file = BearerToken(self._path)
        return self.read()

    def _fault(self) -> str | None:
        claims = self._claims
        if claims is None:
            return None if self._audience is None else "token_of_another_audience"
        if claims.expires_at is not None and claims.expires_at <= self._clock():
            return "token_expired"
        if self._audience is not None:
            return None if self._audience in claims.audiences else "token_of_another_audience"
        if any(audience.startswith(_CLUSTER_AUDIENCES) for audience in claims.audiences):
            return "token_of_the_cluster"
        return None


def _claims(token: str) -> _Claims | None:
    """What a JWT says of itself (RFC 7519 section 4.1); None when it is no JWT."""
    import jwt  # with the cryptography library: only for those who have a token

    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    expires_at, audience = claims.get("exp"), claims.get("aud", ())
    named = [audience] if isinstance(audience, str) else audience
    return _Claims(
        expires_at=float(expires_at) if isinstance(expires_at, int | float) else None,
        audiences=frozenset(each for each in named if isinstance(each, str))
        if isinstance(named, list)
        else frozenset(),
    )
