"""Whether the identity provider's keys can be had, as a started gateway would fetch them."""

from collections.abc import Sequence
from typing import Final

from gateway.callers.jwt_key_fetching import FetchTimes, KeysNotFetched, fetch_keys
from gateway.doctor.case import Case, shown_address
from gateway.doctor.findings import Finding, failed, ok
from gateway.variables.jwt import JwtSettings

_TIMES: Final = FetchTimes(total_s=4.0)  # less than a check may take
_FIXES: Final = {
    "unreachable": "correct GATEWAY_JWT_JWKS_URL, or let this machine reach the identity provider",
    "no_answer_in_time": "find out why the identity provider does not answer from here",
    "no_usable_key": "GATEWAY_JWT_JWKS_URL is to name a JWK Set with public keys (RFC 7517): in"
    " the provider's openid-configuration it is jwks_uri",
    "answer_too_long": "GATEWAY_JWT_JWKS_URL is to name a JWK Set, and nothing larger",
}


async def check(case: Case) -> Sequence[Finding]:
    auth = case.settings.auth
    if not isinstance(auth, JwtSettings) or not isinstance(auth.keys, str):
        return []
    where = shown_address(auth.keys)
    try:
        known = await fetch_keys(auth.keys, _TIMES)
    except KeysNotFetched as why:
        return [
            failed(
                "identity",
                f"no keys from {where}: {why.reason}",
                "callers are answered 503 identity_unavailable",
                _FIXES.get(
                    why.reason,
                    "ask it with curl, and correct GATEWAY_JWT_JWKS_URL: a JWK Set is a 200",
                ),
            )
        ]
    return [ok("identity", f"keys from {where}: {len(known.keys)}")]
