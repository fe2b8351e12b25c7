"""What was answered lately: bounded, with an age for every answer. No I/O."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.installs.contract import ExtensionNotInstalled, Install

Key = tuple[str, str]  # tenant, extension in lower case


@dataclass(slots=True, kw_only=True)
class Remembered:
    """One answer. Times are readings of a monotonic clock, in seconds."""

    install: Install | None = field(repr=False)  # None: not installed
    reason: str = ""  # why not
    fresh_until: float
    usable_until: float  # beyond it, not even while the registry is down

    def value(self) -> Install:
        """The install; raises ExtensionNotInstalled when the answer was that there is none."""
        if self.install is None:
            raise ExtensionNotInstalled(self.reason)
        return self.install


class Memory:
    """The answers used last, at most `bound` of them."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._answers: OrderedDict[Key, Remembered] = OrderedDict()

    def __iter__(self) -> Iterator[Remembered]:
        return iter(tuple(self._answers.values()))

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> Remembered | None:
        """What is remembered, whatever its age; counts as a use."""
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found

    def put(self, key: Key, answer: Remembered) -> None:
        """Remember; the answer used longest ago makes room."""
        self._answers[key] = answer
        self._answers.move_to_end(key)
        if len(self._answers) > self._bound:
            self._answers.popitem(last=False)
