"""Whether a component would run here, for whoever installs it: nobody has to call it first."""

import asyncio
from pathlib import Path

from backends.bundles.store import BundleStore
from backends.embedded.compiled_cache import CompiledCache
from backends.embedded.engine import EngineFailed, WasmEngine
from backends.embedded.failures import GuestFailed
from backends.embedded.guests import TRANSIENT, Guests
from backends.embedded.host.table import HOST_FUNCTIONS


async def problem_with(root: Path, content_hash: str) -> str | None:
    """Why every call of a bundle's handler would fail in this backend; None: none is known.

    Compiles the component, unless that was done before. The code is kept where a gateway of the
    same user keeps its own, and otherwise not: a folder that this made would be closed to the
    gateway of another user.

    Args:
        root: the folder of bundles.
    """
    try:
        engine = await asyncio.to_thread(WasmEngine, max_guests=1)
    except EngineFailed:
        return None
    compiled = CompiledCache(root / "compiled", engine, may_create=False)
    guests = Guests(engine, BundleStore(root), compiled, HOST_FUNCTIONS)
    try:
        await guests.get(content_hash)
    except GuestFailed as failure:
        if failure.error in TRANSIENT:  # it says nothing about the component
            return None
        detail = " ".join(failure.detail.split())
        return f"{failure.error}: {detail}"
    finally:
        await guests.aclose()
        await asyncio.to_thread(engine.close)
    return None
