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
from backends.prompt import Callback, Cancel, Outcome
from gateway.fast_path.parts import Done
from gateway.fast_path.request import FastRequest
from gateway.generations.live import Live
from gateway.routes.delegate import delegated

R = TypeVar("R")
T = TypeVar("T")


class PendingCall(delegated, ABC, Generic[T]):
    """A call on its way: a lease until its answer is made.

    Args:
        done: called with the answer, or with why there is none.
    """

    __slots__ = ("_cancel_call", "_done")

    def __init__(self, request: FastRequest, live: Live, done: Done) -> None:
        super().__init__(request, live)
        self._done = done
        self._cancel_call: Cancel | None = None
        self.__enter__()

    @abstractmethod
    def whole(self, outcome: T) -> web.StreamResponse | None:
        """The answer that an outcome makes; None when its body is still on its way."""

    async def in_parts(self, outcome: T) -> web.StreamResponse:
        """Send the answer whose body is still on its way."""
        raise NotImplementedError

    def begin(self, begin: Callable[[R, Callback[T]], Cancel | None], call: R) -> Cancel | None:
        """Begin `call` with a backend's `begin`; None: it was not begun.

        Raises:
            BackendError: see PromptBackend.
        """
        cancel = None
        try:
            cancel = begin(call, self.on_outcome)
        finally:
            if cancel is None:
                self.__exit__()
        if cancel is None:
            return None
        self._cancel_call = cancel
        return self.cancel

    def on_outcome(self, outcome: Outcome[T]) -> None:
        """The callback of the backend's call."""
        self._cancel_call = None  # it leads back here: a circle that only the collector would find
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

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        cancel, self._cancel_call = self._cancel_call, None
        if cancel is not None:
            cancel()
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
