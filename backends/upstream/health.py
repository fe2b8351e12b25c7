"""Probes a runner by GET /healthz, whose answer is not trusted further than its known members."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import orjson

from backends.contract import BackendHealth, Readiness
from backends.errors import BackendError, RunnerOverloaded
from backends.upstream.bodies import read_whole
from backends.upstream.statuses import refusal
from backends.upstream.transport import UpstreamResponse

_MAX_BYTES: Final = 16 * 1024
_STORE_WORDS: Final = frozenset({"ok", "bundle_store_unreachable", "http_client_init_failed"})


async def probe(ask: Callable[[], Awaitable[UpstreamResponse]]) -> BackendHealth:
    """Judge one answer of /healthz, or the failure to get one. Raises no BackendError."""
    began = time.perf_counter()
    facts: Mapping[str, object] = {}
    try:
        response = await ask()
        facts = _facts(await read_whole(response.body, max_bytes=_MAX_BYTES))
        detail = _complaint(response, facts)
        ready = not detail
    except RunnerOverloaded:
        # Every connection is busy: that is this pool's state, and no verdict on the runner.
        ready, detail = True, "not_probed_pool_exhausted"
    except BackendError as failure:
        ready, detail = False, failure.reason
    return BackendHealth(
        readiness=Readiness.READY if ready else Readiness.DOWN,
        detail=detail,
        latency_ms=(time.perf_counter() - began) * 1000,
        facts=facts,
    )


def _complaint(response: UpstreamResponse, facts: Mapping[str, object]) -> str:
    if 200 <= response.status < 300:
        return ""
    if response.status == 404:
        return "wrong_base_path"
    if facts.get("cache_writable") is False:
        return "cache_not_writable"
    return refusal(response.status, response.headers).reason


def _facts(raw: bytes) -> Mapping[str, object]:
    """The members that the protocol knows, where they hold what it says; no other text."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(document, dict):
        return {}
    facts: dict[str, object] = {}
    if isinstance(document.get("cache_writable"), bool):
        facts["cache_writable"] = document["cache_writable"]
    if document.get("bundle_store") in _STORE_WORDS:
        facts["bundle_store"] = document["bundle_store"]
    return facts
