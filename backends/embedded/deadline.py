"""When a guest has to stop: at its deadline, or as soon as nobody waits for its answer."""

import math
import time

from backends.embedded.engine import TICK_S

_LOOK_EVERY_TICKS = 5


class Deadline:
    """The end of one guest's time.

    Epoch ticks are late under load, so their number is no measure of time: when a guest's
    ticks are used up, the clock decides whether it stops or gets more.

    Args:
        at: when, on the clock of time.monotonic().
    """

    def __init__(self, at: float) -> None:
        self.at = at
        self.passed = False  # the guest was stopped because its time was up
        self.interrupted = False

    def interrupt(self) -> None:
        """Stop the guest within a few ticks; safe from any thread, at any time."""
        self.interrupted = True

    def is_over(self) -> bool:
        """Whether the guest has to stop now. Leaves the reason in `passed`."""
        self.passed = time.monotonic() >= self.at
        return self.passed or self.interrupted

    def ticks(self) -> int:
        """After how many ticks to look again."""
        left = math.ceil((self.at - time.monotonic()) / TICK_S)
        return max(1, min(_LOOK_EVERY_TICKS, left))
