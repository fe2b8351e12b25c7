"""Calls by callback instead of a task, for what can be sent at once and is answered whole.

A task, and a turn of the event loop to wake it, cost as much as the rest of a small request. So
a backend that can send a call on the spot does so, and calls back with the outcome in the very
turn in which the runner's last byte came. Where something has to be awaited (a connection, a
cold start, a body that is still on its way) it declines, or calls back with a coroutine.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from backends.contract import AssetRequest, AssetResponse, ExecuteRequest, ExecuteResult
from backends.errors import BackendError

T = TypeVar("T")

Outcome: TypeAlias = T | BackendError | Coroutine[Any, Any, T]
"""What became of a call: its answer, its failure, or a coroutine that ends in one of them."""

Callback: TypeAlias = Callable[[Outcome[T]], None]
"""Called once with the outcome. It never raises, and must run a coroutine that it gets."""

Cancel = Callable[[], None]
"""Cancels a pending call, whose callback is not called any more then.

To be called once at most, and never after the callback: else the call's place among those that
run would be given back twice."""


@runtime_checkable
class PromptBackend(Protocol):
    """What some backends offer besides RunnerBackend, with the same outcomes and rules."""

    def begin_asset(self, request: AssetRequest, done: Callback[AssetResponse], /) -> Cancel | None:
        """Begin `fetch_asset`; None: nothing was done, and `fetch_asset` has to be awaited.

        Raises:
            BackendError: the outcome, when it is known at once.
        """

    def begin_execute(
        self, request: ExecuteRequest, done: Callback[ExecuteResult], /
    ) -> Cancel | None:
        """Begin `execute`, likewise."""
