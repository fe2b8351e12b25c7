"""The machine-readable record of every swap, kept for the last hundred."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

Outcome = Literal["switched", "refused", "unchanged"]

KEPT = 100


@dataclass(slots=True, kw_only=True)
class Receipt:
    """What one reload did, or why it did nothing. Names of variables, never their values."""

    generation: int  # that serves from now on
    outcome: Outcome
    from_: str  # kind of the backend before
    to: str | None  # kind of the backend asked for; None when the settings told none
    trigger: str  # "signal" or "admin"
    plan: bool = False  # a dry run: nothing was changed
    reason: str | None = None  # why it was refused, one machine word
    problems: list[dict[str, str]] = field(default_factory=list)  # bad settings, with the fix
    changed: list[str] = field(default_factory=list)  # variables
    restart_needed: list[str] = field(default_factory=list)
    pinned_by_environment: list[str] = field(default_factory=list)
    took_ms: float = 0.0
    in_flight_at_switch: int | None = None
    drained_ms: float | None = None  # None while the old generation still serves
    cut_off: int | None = None  # calls that outlived the drain cap
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    def as_json(self) -> dict[str, object]:
        """The document that operators read: `from_` without its underscore."""
        names = (name for name in self.__slots__ if name != "from_")
        return {"from": self.from_} | {name: getattr(self, name) for name in names}


class Receipts:
    """The last receipts, newest first, and how many swaps there were of each outcome."""

    def __init__(self) -> None:
        self._kept: deque[Receipt] = deque(maxlen=KEPT)
        self.totals: dict[Outcome, int] = {"switched": 0, "refused": 0, "unchanged": 0}

    def add(self, receipt: Receipt) -> None:
        """Keep `receipt` and count it; a dry run is not a swap and is not kept."""
        if not receipt.plan:
            self._kept.appendleft(receipt)
            self.totals[receipt.outcome] += 1

    def state(self) -> tuple[list[Receipt], dict[Outcome, int]]:
        """Everything, for another process to `follow`."""
        return list(self._kept), dict(self.totals)

    def follow(self, kept: list[Receipt], totals: dict[Outcome, int]) -> None:
        """Be as another process's receipts are."""
        self._kept.clear()
        self._kept.extend(kept)
        self.totals = dict(totals)

    def newest_first(self) -> list[dict[str, object]]:
        return [receipt.as_json() for receipt in self._kept]
