"""Warms installed bundles before a new generation serves, and right after a start."""

import asyncio

import structlog

from backends.contract import RunnerBackend
from gateway.installs.contract import Installs

WARM_S = 10.0
WARMED_BUNDLES = 16

_log = structlog.get_logger("warming")


async def warm(backend: RunnerBackend, installs: Installs) -> None:
    """Warm the installed bundles, at most WARMED_BUNDLES of them within WARM_S seconds.

    Never raises but for cancellation: a cold backend is slower, not wrong.
    """
    try:
        async with asyncio.timeout(WARM_S):
            known = dict.fromkeys(one.content_hash for one in await installs.all(None))
            for content_hash in list(known)[:WARMED_BUNDLES]:
                await backend.warm(content_hash)
    except Exception as why:  # noqa: BLE001 - see above
        _log.warning("warming_ended_early", error=type(why).__name__)
