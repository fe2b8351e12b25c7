"""A circuit breaker: while nobody is reached, callers are told at once instead of in turn.

Pure, and one for a whole backend: what it counts is the way to the runner, never what an
extension does. A breaker that trips on few samples does harm, so it has a minimum volume.
"""

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Final, Self

from backends.errors import BackendError, Phase, RunnerTimeout, RunnerUnreachable

WINDOW_S: Final = 10.0
MIN_CALLS: Final = 20
FAILURE_RATIO: Final = 0.5
OPEN_S: Final = (1.0, 16.0)
"""How long it stays open: the first time, and at most; each failed probe doubles it."""

_MAX_SAMPLES: Final = 2048


class Circuit(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Watches the calls of one backend. `with breaker.call(): ...` around each of them.

    Closed, it lets everything through; open, nothing; after a while one call goes through as a
    probe, whose outcome decides. One that takes its time does not keep the others out: after as
    long again the next one tries. Of those that are under way at once one failure counts.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, bool]] = deque(maxlen=_MAX_SAMPLES)
        self._open_until: float | None = None
        self._open_s = OPEN_S[0]
        self._round = 0  # probes that begin before one of them has failed are of one round

    @property
    def circuit(self) -> Circuit:
        if self._open_until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self._clock() < self._open_until else Circuit.HALF_OPEN

    def call(self) -> "_Watched":
        """A context for one call.

        Raises:
            RunnerUnreachable: "circuit_open", with the time until the next probe.
        """
        if self._open_until is None:
            return _Watched(self, probe=None)
        now = self._clock()
        left_s = self._open_until - now
        if left_s > 0:
            raise RunnerUnreachable(
                "circuit_open", phase=Phase.ADMIT, retry_after_s=max(1, round(left_s + 0.5))
            )
        self._open_until = now + self._open_s
        return _Watched(self, probe=self._round)

    def watching(self) -> "_Watched":
        """A context for a call that has begun already, while the circuit was closed."""
        return _Watched(self, probe=None)

    def record(self, reached: bool | None, *, probe: int | None) -> None:
        """What became of a call.

        Args:
            reached: None: nobody knows, its caller left.
            probe: the round of a probe; None: it is none.
        """
        if probe is not None and self._open_until is not None:
            if reached:
                self._close()
            elif probe != self._round:
                return  # another one of its round has said so
            elif reached is None:
                self._open_until = self._clock()
            else:
                self._round += 1
                self._open_s = min(self._open_s * 2, OPEN_S[1])
                self._open_until = self._clock() + self._open_s
            return
        if reached is None or self._open_until is not None:
            return
        now = self._clock()
        self._samples.append((now, reached))
        while self._samples[0][0] < now - WINDOW_S:
            self._samples.popleft()
        if reached or len(self._samples) < MIN_CALLS:
            return
        failed = sum(not sample for _, sample in self._samples)
        if failed >= FAILURE_RATIO * len(self._samples):
            self._open_until = now + self._open_s

    def _close(self) -> None:
        self._open_until = None
        self._open_s = OPEN_S[0]
        self._round += 1
        self._samples.clear()


class _Watched:
    """One call under watch."""

    def __init__(self, breaker: Breaker, *, probe: int | None) -> None:
        self._breaker = breaker
        self._probe = probe

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A call that brought no failure reached somebody.
        self._breaker.record(failure is None or was_reached(failure), probe=self._probe)


def was_reached(outcome: object) -> bool | None:
    """What an outcome says of the way to the runner; None: nothing.

    A runner that refuses, fails or is slow was reached: that is no reason to stop asking.

    Args:
        outcome: an answer, or why there is none.
    """
    match outcome:
        case RunnerUnreachable() | RunnerTimeout(phase=Phase.CONNECT):
            # What was held back by this program itself says nothing of the runner.
            return None if outcome.phase is Phase.ADMIT else False
        case BackendError():
            return None if outcome.phase is Phase.ADMIT else True
        case BaseException():
            return None
        case _:
            return True
