"""Awaits something that takes its time, unless it is no longer wanted."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def done_before(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Await `work`, or cancel it when `stop` is set first; returns whether it was done.

    Raises what `work` raises.
    """
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        return False
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
