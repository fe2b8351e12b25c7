"""Lets dead processes go that nobody waits for.

The first process of a container becomes the parent of all whose own has died: of the guest
processes of a worker that was killed, and of compilers. Each of them counts against the limit of
processes until it has been waited for.
"""

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final

LOOK_EVERY_S: Final = 1.0
_TURN_S: Final = 0.05


async def let_orphans_go() -> None:
    """Wait for every child that is dead at two looks in a row: whoever had started it would have.

    Ends at once where there is nothing to do: only Linux tells without taking.
    """
    seen = 0
    while sys.platform == "linux":
        await asyncio.sleep(LOOK_EVERY_S)
        # However late that was: in between the loop hears of the deaths that others wait for.
        await asyncio.sleep(_TURN_S)
        seen = _look(seen)


def _look(seen: int) -> int:
    """Let `seen` go if it is still there. Returns the next dead child; 0 when there is none."""
    if sys.platform == "linux":
        with suppress(ChildProcessError):  # no child at all, or others have waited meanwhile
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is not None and dead.si_pid == seen:
                os.waitpid(seen, os.WNOHANG)
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return 0 if dead is None else dead.si_pid
    return 0
