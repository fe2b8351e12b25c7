"""Whether a guest's calls are short enough to be run between two turns of the event loop.

Handing a call to a thread and back costs more than a short handler does, so a guest of known
short calls runs on the loop's own thread. What holds the loop for longer than its turn is owed,
and paid back by short calls in a thread: on average a call cannot overdraw by more than it pays.
"""

TURN_S = 0.003
"""How much of the loop's time a call may take before it goes on in a thread."""

_PAID_BY_A_SHORT_CALL_S = 0.000_1


class Pace:
    """What is remembered of one guest.

    Threads write to it without a lock: what is lost by that is a few calls on the slower way.
    """

    def __init__(self) -> None:
        self._owed_s = _PAID_BY_A_SHORT_CALL_S  # nothing is known of a new guest

    @property
    def is_short(self) -> bool:
        """Whether the next call may begin on the loop's thread."""
        return self._owed_s <= 0

    def held_the_loop(self, cpu_s: float) -> None:
        """A call ran on the loop's thread for so long."""
        self._owed_s = max(self._owed_s, 0.0) + max(0.0, cpu_s - TURN_S)

    def ran_in_a_thread(self, cpu_s: float) -> None:
        """A call ran in a thread from beginning to end, and used so much of a core."""
        if cpu_s <= TURN_S:
            self._owed_s -= _PAID_BY_A_SHORT_CALL_S
