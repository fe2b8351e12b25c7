"""Decides whether a guest's next call may run on the event loop's own thread.

Handing a call to a thread and back costs more than a short handler does, so a guest whose calls
are known to be short runs on the loop's thread. A call that holds the loop for longer than TURN_S
puts its guest into debt; while it owes anything its calls run in threads, and each short one pays
a little back. So a guest cannot hold the loop for long again and again.
"""

TURN_S = 0.003
"""How much of the loop's time a call may take before it goes on in a thread."""

_PAID_BY_A_SHORT_CALL_S = 0.000_1


class Pace:
    """One guest's debt.

    Threads write to it without a lock: a lost update costs a few calls in a thread, no more.
    """

    def __init__(self) -> None:
        self._owed_s = _PAID_BY_A_SHORT_CALL_S  # a new guest has to prove itself once

    @property
    def is_short(self) -> bool:
        """Whether the next call may begin on the loop's thread."""
        return self._owed_s <= 0

    def held_the_loop(self, cpu_s: float) -> None:
        """A call used `cpu_s` of the loop's thread."""
        self._owed_s = max(self._owed_s, 0.0) + max(0.0, cpu_s - TURN_S)

    def ran_in_a_thread(self, cpu_s: float) -> None:
        """A call ran in a thread from beginning to end, and used `cpu_s` there."""
        if cpu_s <= TURN_S:
            self._owed_s -= _PAID_BY_A_SHORT_CALL_S
