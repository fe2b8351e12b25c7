"""Asking without a task: for what can be sent at once and is answered in one piece, as most is.

A task, and a turn of the event loop to wake it, cost as much as the rest of a small request. So
whoever can begin a call on the spot does, and tells its outcome later, in the very turn in
which the runner's last byte came. Where anything has to be waited for, a connection, a cold
start, a body that is still on its way, it says so, and the call goes on in a coroutine.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from backends.contract import AssetRequest, AssetResponse, ExecuteRequest, ExecuteResult
from backends.errors import BackendError

T = TypeVar("T")

Outcome: TypeAlias = T | BackendError | Coroutine[Any, Any, T]
"""What became of a call: its answer, its failure, or what has to be awaited for either."""

Told: TypeAlias = Callable[[Outcome[T]], None]
"""Hears once what became of a call. Does not raise; whoever gets a coroutine has to run it."""

Withdraw = Callable[[], None]
"""Nobody wants the outcome any more: it will not be told. Safe to call at any time."""


@runtime_checkable
class PromptBackend(Protocol):
    """What some backends can do besides RunnerBackend; the same outcomes, the same rules."""

    def begin_asset(self, request: AssetRequest, told: Told[AssetResponse], /) -> Withdraw | None:
        """Begin `fetch_asset`; None: nothing was done, and `fetch_asset` has to be awaited.

        Raises:
            BackendError: what would be told, when it is known at once.
        """

    def begin_execute(
        self, request: ExecuteRequest, told: Told[ExecuteResult], /
    ) -> Withdraw | None:
        """Begin `execute`, likewise."""
