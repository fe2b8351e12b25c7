"""The folder of kept UI files: can it be used at all?"""

import asyncio
from collections.abc import Sequence

from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, ok, warning
from gateway.doctor.folders import is_writable


async def check(case: Case) -> Sequence[Finding]:
    folder = case.settings.asset_cache_dir
    if folder is None:
        return []
    if not case.settings.asset_cache_bytes:
        what = f"{folder} is not used, for GATEWAY_ASSET_CACHE_MB is 0"
        fix = "raise that, or leave GATEWAY_ASSET_CACHE_DIR out"
        return [warning("cache", what, "no UI file is kept", fix)]
    if await asyncio.to_thread(is_writable, folder):
        return [ok("cache", f"UI files can be kept in {folder}")]
    fix = "set GATEWAY_ASSET_CACHE_DIR to a folder that this user can write to"
    why = "UI files are kept in memory alone, and fetched anew after a restart"
    return [warning("cache", f"{folder} cannot be written to", why, fix)]
