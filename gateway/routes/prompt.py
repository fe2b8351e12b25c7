"""Handlers by callback: send the call on the spot, answer in the turn that brings its outcome.

Such a handler sends and answers exactly what the coroutine beside it does. Where it would have to
wait it declines, and the coroutine is run instead. See backends.prompt.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any, Generic, TypeVar, cast

from aiohttp import web

from backends.errors import BackendError, RunnerTimeout
from backends.prompt import Outcome, Told, Withdraw
from gateway.fast_path.parts import Done
from gateway.fast_path.request import FastRequest
from gateway.live import Live
from gateway.routes.delegate import delegated

R = TypeVar("R")
T = TypeVar("T")


class Prompted(delegated, ABC, Generic[T]):
    """A call on its way: a lease until its answer is made.

    Args:
        done: hears the answer, or why there is none.
    """

    __slots__ = ("_done", "_withdraw")

    def __init__(self, request: FastRequest, live: Live, done: Done) -> None:
        super().__init__(request, live)
        self._done = done
        self._withdraw: Withdraw | None = None
        self.__enter__()

    @abstractmethod
    def whole(self, outcome: T) -> web.StreamResponse | None:
        """The answer that an outcome makes; None when its body is still on its way."""

    async def in_parts(self, outcome: T) -> web.StreamResponse:
        """Send the answer whose body is still on its way."""
        raise NotImplementedError

    def begin(self, begin: Callable[[R, Told[T]], Withdraw | None], asked: R) -> Withdraw | None:
        """Begin the call `asked` with a backend's `begin`; None: it was not begun.

        Raises:
            BackendError: see PromptBackend.
        """
        withdraw = None
        try:
            withdraw = begin(asked, self.told)
        finally:
            if withdraw is None:
                self.__exit__()
        if withdraw is None:
            return None
        self._withdraw = withdraw
        return self._leave

    def told(self, outcome: Outcome[T]) -> None:
        """What a backend tells."""
        self._withdraw = None  # it leads back here: a circle that only the collector would find
        if isinstance(outcome, CoroutineType):  # the ABC would be asked at length
            self._done(self._late(outcome))
            return
        came = cast("T | BackendError", outcome)
        answer: web.StreamResponse | Exception | None
        if isinstance(came, BackendError):
            if isinstance(came, RunnerTimeout):
                self.explain(came)
            answer = came
        else:
            try:
                answer = self.whole(came)
            except Exception as failure:  # noqa: BLE001 - whoever hears of it answers for it
                answer = failure
            if answer is None:
                self._done(self._streamed(came))
                return
        self.__exit__()
        self._done(answer)

    def _leave(self) -> None:
        withdraw, self._withdraw = self._withdraw, None
        if withdraw is not None:
            withdraw()
        self.__exit__()

    async def _late(self, outcome: Coroutine[Any, Any, T]) -> web.StreamResponse:
        try:
            came = await outcome
            answer = self.whole(came)
            return await self.in_parts(came) if answer is None else answer
        except RunnerTimeout as failure:
            self.explain(failure)
            raise
        finally:
            self.__exit__()

    async def _streamed(self, outcome: T) -> web.StreamResponse:
        try:
            return await self.in_parts(outcome)
        finally:
            self.__exit__()
