"""Tokens in files: readable, for the right audience, and good for a while yet?"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

import jwt

from backends.bearer_token import BearerToken
from backends.errors import RunnerUnreachable
from backends.knative_path.token import ServiceToken
from backends.settings import KnativeSettings
from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning

_SOON_S: Final = 300.0
_FIXES: Final = {
    "token_unreadable": "make the file readable, and one token its only content",
    "token_expired": "have it renewed: a projected token's file is, as long as the pod lives",
    "token_of_another_audience": "correct RUNNER_KNATIVE_TOKEN_AUDIENCE, or the token's audience",
    "token_of_the_cluster": "project a token whose audience is the ingress, not the cluster's API",
}


async def check(case: Case) -> Sequence[Finding]:
    return await asyncio.to_thread(lambda: list(_files(case)))


def _files(case: Case) -> Iterator[Finding]:
    backend = case.settings.backend
    if isinstance(backend, KnativeSettings) and backend.token_file is not None:
        reader = ServiceToken(backend.token_file, audience=backend.token_audience)
        yield _judged("RUNNER_KNATIVE_TOKEN_FILE", reader)
    if case.settings.service_token_file is not None:
        yield _judged("RUNNER_SERVICE_TOKEN_FILE", BearerToken(case.settings.service_token_file))


def _judged(variable: str, reader: ServiceToken | BearerToken) -> Finding:
    try:
        left_s = _seconds_left(reader.read())
    except RunnerUnreachable as fault:
        return failed(
            "token", f"{variable}: {fault.reason}", "it is not sent", _FIXES[fault.reason]
        )
    if left_s is None:
        return ok("token", f"{variable} holds a token")
    if left_s <= 0:
        why, fix = "the runner will refuse it", _FIXES["token_expired"]
        return failed("token", f"{variable} expired {-left_s:.0f} s ago", why, fix)
    if left_s < _SOON_S:
        why = "who renews it is late"
        fix = _FIXES["token_expired"]
        return warning("token", f"{variable} expires in {left_s:.0f} s", why, fix)
    return ok("token", f"{variable} is good for {left_s / 60:.0f} min")


def _seconds_left(token: str) -> float | None:
    """Until a JWT's `exp` (RFC 7519 section 4.1.4); None when it has none, or is no JWT."""
    try:
        expires_at = jwt.decode(token, options={"verify_signature": False}).get("exp")
    except jwt.InvalidTokenError:
        return None
    return expires_at - time.time() if isinstance(expires_at, int | float) else None
