"""One guest's call as the host functions see it, and the two ways a WIT result ends."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backends.contract import ExecuteRequest
from backends.embedded.host.services import HostServices


@dataclass(frozen=True, slots=True)
class Ok:
    """The `ok` case of a WIT result."""

    value: object = None


@dataclass(frozen=True, slots=True)
class Err:
    """The `err` case of a WIT result: one word of the function's error enum."""

    tag: str


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, what they were granted, and until when they may keep the host busy."""

    request: ExecuteRequest
    granted: frozenset[str]
    deadline: float  # on the clock of time.monotonic()
    services: HostServices
    secrets: Mapping[str, str] | None = field(default=None, repr=False)
    lines_logged: Iterator[int] = field(
        default_factory=itertools.count, init=False, repr=False, compare=False
    )
    """Counts the guest's log lines; the one thing that changes during a call."""

    def may(self, capability: str) -> bool:
        """Whether `capability`, such as "cap:http.fetch", was granted to this install."""
        return capability in self.granted

    def remaining_s(self, at_most: float = float("inf")) -> float:
        """Seconds until the deadline, never negative, never more than `at_most`."""
        return max(0.0, min(at_most, self.deadline - time.monotonic()))
