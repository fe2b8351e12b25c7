"""From settings to what tells callers apart, and the keys that it needs."""

from dataclasses import dataclass
from typing import assert_never

from gateway.callers.jwt_key_fetching import FetchedKeys
from gateway.variables.jwt import AuthSettings, JwtSettings
from middleware.caller import Auth, DevAuth, ProxyAuth
from middleware.jwt_keys import KnownKeys
from middleware.jwt_tokens import JwtAuth


@dataclass(frozen=True, slots=True)
class CallerAuth:
    """How callers are told apart now; `fetched` is closed when another takes its place."""

    policy: Auth
    fetched: FetchedKeys | None = None

    async def start(self) -> None:
        """Have the keys at hand.

        Raises:
            KeysNotFetched: they are not, yet.
        """
        if self.fetched is not None:
            await self.fetched.start()

    async def aclose(self) -> None:
        if self.fetched is not None:
            await self.fetched.aclose()


def caller_auth(settings: AuthSettings) -> CallerAuth:
    """What `settings` say; nothing is fetched before it is started."""
    match settings:
        case DevAuth() | ProxyAuth():
            return CallerAuth(settings)
        case JwtSettings():
            if isinstance(settings.keys, KnownKeys):
                return CallerAuth(_jwt(settings, settings.keys))
            fetched = FetchedKeys(settings.keys)
            return CallerAuth(_jwt(settings, fetched), fetched)
        case _:
            assert_never(settings)


def _jwt(settings: JwtSettings, keys: KnownKeys | FetchedKeys) -> JwtAuth:
    return JwtAuth(
        issuer=settings.issuer,
        audience=settings.audience,
        algorithms=settings.algorithms,
        leeway_s=settings.leeway_s,
        tenant_claim=settings.tenant_claim,
        keys=keys,
    )
