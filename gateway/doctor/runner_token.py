"""Tokens: files readable and good for a while yet, and does the runner take the service token?"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

import jwt

from backends.errors import BackendError, RunnerNotConfigured, RunnerUnreachable
from backends.files.bearer_token import BearerToken
from backends.files.token import TokenFile, token_now
from backends.knative_path.token import ServiceToken
from backends.knock import Knocks
from backends.settings import EmbeddedSettings, KnativeSettings
from gateway.backend_opening import backend_of
from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.settings import Settings

_SOON_S: Final = 300.0
_KNOCK_S: Final = 5.0  # a runner that sleeps has to start
_DOOR_S: Final = 6.0  # the backend has to be opened first
_FIXES: Final = {
    "token_unreadable": "make the file readable, and one token its only content",
    "token_expired": "have it renewed: a projected token's file is, as long as the pod lives",
    "token_of_another_audience": "correct RUNNER_KNATIVE_TOKEN_AUDIENCE, or the token's audience",
    "token_of_the_cluster": "project a token whose audience is the ingress, not the cluster's API",
}


async def check(case: Case) -> Sequence[Finding]:
    files, door = await asyncio.gather(
        asyncio.to_thread(lambda: list(_files(case))), _door(case.settings)
    )
    return [*files, *door]


async def _door(settings: Settings) -> Sequence[Finding]:
    """Whether the runner lets calls in; whether it is there at all is another check's to say."""
    if isinstance(settings.backend, EmbeddedSettings):
        return []
    try:
        async with asyncio.timeout(_DOOR_S):
            await _knock(settings)
    except BackendError as turned_away:
        return _not_let_in(settings, turned_away)
    except (OSError, ValueError):  # it did not open, or not in time
        return []
    return [ok("token", "the runner lets the gateway's calls in")]


async def _knock(settings: Settings) -> None:
    token = await asyncio.to_thread(token_now, settings.service_token)
    backend = await backend_of(settings)
    try:
        if isinstance(backend, Knocks):
            await backend.knock(token, timeout_s=_KNOCK_S)
    finally:
        await backend.aclose()


def _not_let_in(settings: Settings, failure: BackendError) -> Sequence[Finding]:
    if isinstance(failure, RunnerUnreachable | RunnerNotConfigured):
        return []
    if failure.reason != "runner_refused_credentials":
        what = f"whether the runner lets calls in is not known: {failure.reason}"
        why = "if it does not, every handler call is answered with 502"
        return [warning("token", what, why, "run doctor again while the runner is up and idle")]
    told = settings.service_token is not None
    token = "the gateway's service token" if told else "calls without a service token"
    fix = "let RUNNER_SERVICE_TOKEN, or what is in RUNNER_SERVICE_TOKEN_FILE, be the runner's own"
    if isinstance(settings.backend, KnativeSettings) and settings.backend.token_file is not None:
        fix += "; if it is the ingress that refuses, see what RUNNER_KNATIVE_TOKEN_FILE is for"
    why = "every handler call is answered with 502"
    return [failed("token", f"the runner refuses {token}", why, fix)]


def _files(case: Case) -> Iterator[Finding]:
    backend = case.settings.backend
    if isinstance(backend, KnativeSettings) and backend.token_file is not None:
        reader = ServiceToken(backend.token_file, audience=backend.token_audience)
        yield _judged("RUNNER_KNATIVE_TOKEN_FILE", reader)
    if isinstance(case.settings.service_token, TokenFile):
        file = BearerToken(case.settings.service_token.path)
        yield _judged("RUNNER_SERVICE_TOKEN_FILE", file)


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
