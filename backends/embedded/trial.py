"""Whether a component would run here, for whoever installs it: nobody has to call it first."""

import asyncio

from backends.bundles.store import BundleStore
from backends.embedded.compiled_cache import CompiledCache
from backends.embedded.engine import EngineFailed, WasmEngine
from backends.embedded.failures import GuestFailed
from backends.embedded.guests import TRANSIENT, Guests
from backends.embedded.host.table import HOST_FUNCTIONS
from backends.settings import EmbeddedSettings


async def problem_with(settings: EmbeddedSettings, content_hash: str) -> str | None:
    """Why every call of a bundle's handler would fail in this backend; None: none is known.

    Compiles the component, unless that was done before. The code is kept where a gateway of the
    same user keeps its own, and otherwise not: a folder that this made would be closed to the
    gateway of another user.
    """
    try:
        engine = await asyncio.to_thread(WasmEngine, max_guests=1)
    except EngineFailed:
        return None
    root = settings.bundle_dir
    compiled = CompiledCache(root / "compiled", engine, may_create=False)
    guests = Guests(
        engine,
        BundleStore(root),
        compiled,
        HOST_FUNCTIONS,
        compile_memory_mb=settings.compile_memory_mb,
    )
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
