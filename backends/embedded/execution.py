"""One call of one guest: a fresh instance, its limits, its answer or why there is none."""

import ctypes
import time
from collections.abc import Generator
from typing import Any

import wasmtime
from wasmtime import _bindings as c  # the binding cannot leave a call and take it up again

from backends.contract import ExecuteResult
from backends.embedded import short_calls
from backends.embedded.deadline import Deadline
from backends.embedded.failures import (
    GuestFailed,
    failed_call,
    failed_instantiation,
    raise_if_failed,
)
from backends.embedded.guest_http import guest_request, guest_result
from backends.embedded.host.call import Call
from backends.embedded.instance_pool import MAX_MEMORIES, MAX_TABLE_ELEMENTS
from backends.embedded.pace import TURN_S
from backends.embedded.packing import packed
from backends.embedded.prepared import PreparedGuest
from backends.embedded.printing import Printing
from backends.embedded.scalars import Allowance, TooMuch
from backends.embedded.session import Session, enforce_deadline, entered

_MEBIBYTE = 1_048_576
_LONG_BODY_BYTES = 65_536
"""Moving a longer body into the guest takes more than a turn."""

_MAX_INSTANCES = 1_000
_NO_LIMIT = -1

_ERROR = ctypes.POINTER(c.wasmtime_error_t)
_Steps = Generator[None, None, ExecuteResult]


class GuestRun:
    """Instantiates a guest and calls its handler; at most its first turn is on the loop's thread.

    Args:
        memory_mb: the limit of each linear memory, in MiB.
    """

    def __init__(
        self, guest: PreparedGuest, call: Call, deadline: Deadline, memory_mb: int
    ) -> None:
        self._pace = guest.pace
        self._session = Session(call, deadline)
        self._steps = _steps(guest, self._session, memory_mb)
        self._is_begun = False

    @property
    def is_short(self) -> bool:
        """Whether it may begin on the loop's thread."""
        return self._pace.is_short and len(self._session.call.request.body or b"") <= (
            _LONG_BODY_BYTES
        )

    def turn(self) -> ExecuteResult | None:
        """Run on the loop's thread until the answer.

        Returns:
            None when the guest takes longer, or wants to wait for its host: `finish` it then.

        Raises:
            GuestFailed: the guest gave no answer that can be passed on.
        """
        self._is_begun = True
        began = time.thread_time()
        self._session.turn_ends_s = began + TURN_S
        try:
            return self._go_on()
        finally:
            self._session.turn_ends_s = None
            self._pace.held_the_loop(time.thread_time() - began)

    def finish(self) -> ExecuteResult:
        """Run in a thread of the guest's own, where it may also begin. Raises as `turn`."""
        began = time.thread_time()
        try:
            while (answer := self._go_on()) is None:
                pass
            return answer
        finally:
            if not self._is_begun:
                self._pace.ran_in_a_thread(time.thread_time() - began)

    def _go_on(self) -> ExecuteResult | None:
        with entered(self._session):
            try:
                next(self._steps)
            except StopIteration as answered:
                return answered.value  # type: ignore[no-any-return]  # typeshed: Any
        return None


def _steps(guest: PreparedGuest, session: Session, memory_mb: int) -> _Steps:
    """From nothing to the answer; yields wherever the engine wants to be polled again."""
    deadline = session.deadline
    if deadline.at <= time.monotonic():
        raise GuestFailed("execute_timeout", "no time was left to run")
    store = c.wasmtime_store_new(guest.engine.native.ptr(), None, short_calls.NO_FINALIZER)
    guest.engine.begin()
    printing = Printing(session.call)
    try:
        context = short_calls.store_context(store)
        _limit(store, memory_mb)
        if guest.linked.uses_wasi:
            _give_wasi(context, printing)  # without it a guest that calls WASI aborts the process
        enforce_deadline(store, context, session)
        instance = c.wasmtime_component_instance_t()
        error = _ERROR()
        try:
            yield from _polled(
                c.wasmtime_component_linker_instantiate_async(
                    guest.linked.linker.ptr(), context, guest.component.ptr(), instance, error
                ),
                error,
            )
        except wasmtime.WasmtimeError as failed:
            raise _stopped(deadline) or failed_instantiation(failed) from failed
        handler = c.wasmtime_component_func_t()
        if not short_calls.instance_get_func(instance, context, guest.handler.ptr(), handler):
            raise GuestFailed("execute_no_handler")
        return guest_result((yield from _called(guest, handler, context, session)))
    finally:
        guest.engine.end()
        c.wasmtime_store_delete(store)
        printing.end()


def _limit(store: Any, memory_mb: int) -> None:
    memory = memory_mb * _MEBIBYTE
    short_calls.store_limiter(
        store, memory, MAX_TABLE_ELEMENTS, _MAX_INSTANCES, _NO_LIMIT, MAX_MEMORIES
    )


def _give_wasi(context: Any, printing: Printing) -> None:
    config = wasmtime.WasiConfig()  # no arguments, environment, files or inherited streams
    printing.attach(config)
    try:
        raise_if_failed(c.wasmtime_context_set_wasi(context, config._consume()))
    except wasmtime.WasmtimeError as error:
        raise GuestFailed("engine_init_failed", str(error)) from error


def _called(
    guest: PreparedGuest, handler: Any, context: Any, session: Session
) -> Generator[None, None, object]:
    try:
        argument = packed(guest.request, guest_request(session.call.request))
    except (TypeError, ValueError) as failed:
        raise GuestFailed("execute_failed", f"request: {type(failed).__name__}") from failed
    answer = c.wasmtime_component_val_t()
    error = _ERROR()
    try:
        yield from _polled(
            c.wasmtime_component_func_call_async(
                handler, context, argument.value, 1, answer, 1, error
            ),
            error,
        )
        return guest.response.lift(answer, Allowance())
    except TooMuch:
        raise GuestFailed(
            "execute_invalid_answer", "the headers are too many or too long"
        ) from None
    except wasmtime.WasmtimeError as failed:
        raise _stopped(session.deadline) or failed_call(failed) from failed
    finally:
        argument.free()
        c.wasmtime_component_val_delete(answer)


def _polled(future: Any, error: Any) -> Generator[None, None, None]:
    """Poll until it has ended. Raises WasmtimeError."""
    try:
        while not c.wasmtime_call_future_poll(future):
            yield
    finally:
        c.wasmtime_call_future_delete(future)
    raise_if_failed(error)


def _stopped(deadline: Deadline) -> GuestFailed | None:
    if deadline.interrupted:
        return GuestFailed("execute_interrupted", "nobody waits for the answer")
    if deadline.passed:
        return GuestFailed("execute_timeout", "the guest's time was up")
    return None
