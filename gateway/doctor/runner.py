"""The runner: found, reachable, well, and of the same opinion about the time?"""

import asyncio
import socket
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from backends.contract import BackendHealth, Readiness
from backends.errors import BackendError
from backends.knative_path.tls import client_context
from backends.settings import EmbeddedSettings, KnativeSettings
from gateway.backend_opening import backend_of
from gateway.doctor.case import Case, shown_address
from gateway.doctor.findings import Finding, failed, ok, warning

_OPEN_S: Final = 5.0
_DATE_S: Final = 2.0
_RESOLVE_S: Final = 3.0
_SKEW_S: Final = 30.0  # a signed token is often good for no more than a minute
_FIXES: Final = {
    "wrong_base_path": "correct the path in the runner's address: its /healthz answered 404",
    "serving_api_unread": "see what is said about serving",
    "service_has_no_address": "see what is said about serving",
    "cache_not_writable": "give the runner a cache folder that it can write to",
    "token_expired": "have the token file renewed",
}


async def check(case: Case) -> Sequence[Finding]:
    backend = case.settings.backend
    if isinstance(backend, EmbeddedSettings):
        count = backend.processes
        where = f"processes of the gateway's own: {count}" if count else "the gateway's own process"
        return [ok("runner", f"extensions run in {where}")]
    unresolved, health, clock = await asyncio.gather(_name(case), _health(case), _clock(case))
    return unresolved or [*health, *clock]


async def _name(case: Case) -> Sequence[Finding]:
    host = urlsplit(case.runner_url or "").hostname
    if host is None:
        return []
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        fix = "correct the name, or mend name resolution here"
        if isinstance(case.settings.backend, KnativeSettings):
            fix = (
                "set RUNNER_BASE_URL to the ingress's address, and RUNNER_KNATIVE_HOST to the name"
                " of the service; names that end in .svc.cluster.local exist in the cluster only"
            )
        return [failed("runner", f"{host} has no address", "no call can reach the runner", fix)]
    return []


async def _health(case: Case) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(_OPEN_S):
            health = await _probe(case)
    except TimeoutError:
        return [_unwell("no_answer_in_time")]
    except BackendError as refused:
        return [_unwell(refused.reason)]
    except (OSError, ValueError) as refused:
        return [_unwell(f"backend_not_opened ({type(refused).__name__})")]
    if health.readiness is not Readiness.READY:
        return [_unwell(health.detail)]
    where = "" if case.runner_url is None else f" at {shown_address(case.runner_url)}"
    facts = ", ".join(f"{name}: {fact}" for name, fact in health.facts.items())
    findings = [ok("runner", f"healthy{where}{f' ({facts})' if facts else ''}")]
    store = health.facts.get("bundle_store", "ok")
    if store != "ok":
        why = "it can run no extension that it does not have already"
        fix = "mend the runner's BUNDLE_STORE_BASE, or what it leads to"
        findings.append(warning("runner", f"its bundle store: {store}", why, fix))
    return findings


async def _probe(case: Case) -> BackendHealth:
    backend = await backend_of(case.settings)
    try:
        return await backend.health()
    finally:
        await backend.aclose()


def _unwell(reason: str) -> Finding:
    fix = _FIXES.get(reason, "start the runner, or correct its address")
    return failed("runner", f"not healthy: {reason}", "calls are refused", fix)


async def _clock(case: Case) -> Sequence[Finding]:
    """Compare with the Date that the runner, or whatever is in front of it, writes."""
    if case.runner_url is None:
        return []
    skew_s = await _skew(case, case.runner_url)
    if skew_s is None:
        return []
    if abs(skew_s) <= _SKEW_S:
        return [ok("clock", "agrees with the runner's")]
    direction = "ahead of" if skew_s > 0 else "behind"
    return [
        warning(
            "clock",
            f"this machine is {abs(skew_s):.0f} s {direction} the runner",
            "tokens and signed addresses count as expired, or as not valid yet",
            "let both follow a time server: timedatectl set-ntp true",
        )
    ]


async def _skew(case: Case, url: str) -> float | None:
    """Seconds by which this clock is ahead; None when the runner does not say."""
    backend = case.settings.backend
    headers, tls, name = {}, None, None
    try:
        if isinstance(backend, KnativeSettings):
            tls, name = client_context(backend.tls), backend.host
            headers = {} if name is None else {"Host": name}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_DATE_S)) as session,
            session.get(
                f"{url}/healthz",
                headers=headers,
                ssl=tls or True,
                server_hostname=name.partition(":")[0] if name and url[:6] == "https:" else None,
                allow_redirects=False,
            ) as answer,
        ):
            return time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, KeyError, ValueError):
        return None
