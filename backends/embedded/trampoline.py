"""From a guest's call of an import to a Python host function, and back.

Entered through the C API with our own callbacks: the binding's keep a raised exception
in a global, where the call of another thread may pick it up.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from wasmtime import _bindings as c  # the binding's add_func converts values its own way
from wasmtime import _ffi as ffi
from wasmtime import component as wit

from backends.embedded.failures import raise_if_failed
from backends.embedded.host.call import Err
from backends.embedded.host.guest_log import host_function_failed
from backends.embedded.host.never_waits import HostFunction, never_waits
from backends.embedded.marshalling import ListCodec, RecordCodec, ResultCodec, zero
from backends.embedded.scalars import Allowance, Codec, EnumCodec, TooMuch, expect
from backends.embedded.session import current
from backends.embedded.short_calls import NO_FINALIZER

Trampoline = Any
"""A callback that C enters; it must live as long as the linker that holds its address."""

_FLAGS = ffi.WASMTIME_COMPONENT_FLAGS.value
_U64 = ffi.WASMTIME_COMPONENT_U64.value
_ERROR = ctypes.POINTER(c.wasmtime_error_t)
# The error that a guest gets where a host function broke: the first that its enum has.
_LAST_RESORT = ("internal", "denied", "not-allowed")
_Given = list[object] | None
"""Arguments; None: there was too much of them."""
_Lift = Callable[[Any], _Given]
_Serve = Callable[[_Given, Any], int]
"""Takes arguments and the place for the answer; gives an error's address, or 0."""


def trampoline(
    name: str, function: HostFunction, params: Sequence[Codec], result: Codec | None
) -> Trampoline:
    """Make the callback of one import.

    A host function never raises; one that does, or that answers what its WIT type cannot
    hold, is logged without its message, which may quote the guest's data. The guest then
    gets the error of the import's own type, a trap where the type has none, and nothing
    where the import returns nothing; so it does when its arguments exceed their Allowance.
    """

    def lift(args: Any) -> _Given:
        allowance = Allowance()
        try:
            return [codec.lift(args[index], allowance) for index, codec in enumerate(params)]
        except TooMuch:
            return None

    def serve(args: _Given, results: Any) -> int:
        if args is None:
            return fail(TooMuch.__name__, results)
        try:
            answer = function(current().call, *args)
            if result is not None:
                zero(results[0])
                result.lower(answer, results[0])
        except Exception as error:  # noqa: BLE001 - nothing may be raised into native code
            return fail(type(error).__name__, results)
        return 0

    def fail(error: str, results: Any) -> int:
        host_function_failed(current().call, name, error)
        return _give_error(result, results)

    return _answering(lift, serve) if never_waits(function) else _waiting(lift, serve)


def _answering(lift: _Lift, serve: _Serve) -> Trampoline:
    def enter(
        _data: object, _context: object, _type: object, args: Any, _n: int, results: Any, _m: int
    ) -> int:
        return serve(lift(args), results)

    return c.wasmtime_component_func_callback_t(enter)


def _waiting(lift: _Lift, serve: _Serve) -> Trampoline:
    """Called on the event loop's thread, it first sends the guest to a thread of its own."""

    def enter(
        _data: object, _context: object, _type: object, args: Any, _n: int, results: Any, _m: int,
        error: Any, continuation: Any,
    ) -> None:  # fmt: skip
        continuation[0].callback = _GO_ON
        session, given = current(), lift(args)  # the engine's `args` are gone once this returns
        if session.turn_ends_s is None:
            if problem := serve(given, results):
                error[0] = ctypes.cast(problem, _ERROR)
        else:
            session.unfinished = lambda: _serve_late(serve, given, results)

    return c.wasmtime_component_func_async_callback_t(enter)


def _serve_late(serve: _Serve, args: _Given, results: Any) -> None:
    """By now the engine takes no error; a value of a type that the world lacks makes it trap."""
    if problem := serve(args, results):
        c.wasmtime_error_delete(ctypes.cast(problem, _ERROR))
        results[0].kind = _FLAGS


def _go_on(_env: object) -> bool:
    session = current()
    if session.unfinished is not None:
        if session.turn_ends_s is not None:
            return False
        unfinished, session.unfinished = session.unfinished, None
        unfinished()
    return True


_GO_ON = c.wasmtime_func_async_continuation_callback_t(_go_on)


def trap(name: str) -> Trampoline:
    """Make the callback of an import that no guest may use."""
    message = f"{name} is not available".encode()

    def enter(*_: object) -> int:
        return _error(message)

    return c.wasmtime_component_func_callback_t(enter)


def clock(read_ns: Callable[[], int]) -> Trampoline:
    """Make the callback of a function without parameters that returns a u64."""

    def enter(
        _data: object, _context: object, _type: object, _args: Any, _n: int, results: Any, _m: int
    ) -> int:
        results[0].of.u64 = read_ns()
        results[0].kind = _U64
        return 0

    return c.wasmtime_component_func_callback_t(enter)


def add(instance: wit.LinkerInstance, function: str, callback: Trampoline) -> None:
    """Define a function of an interface. Raises WasmtimeError."""
    waits = isinstance(callback, c.wasmtime_component_func_async_callback_t)
    define = (
        c.wasmtime_component_linker_instance_add_func_async
        if waits
        else c.wasmtime_component_linker_instance_add_func
    )
    name = ctypes.create_string_buffer(function.encode())
    raise_if_failed(define(instance.ptr(), name, len(name) - 1, callback, None, NO_FINALIZER))


def _give_error(result: Codec | None, results: Any) -> int:
    if result is None:
        return 0
    c.wasmtime_component_val_delete(ctypes.byref(results[0]))
    zero(results[0])
    match result:
        case ResultCodec(err=EnumCodec() as err):
            tag = next((tag for tag in _LAST_RESORT if tag in err.names), err.names[-1])
            result.lower(Err(tag), results[0])
        case RecordCodec() if {"success", "error"} <= {name for name, _ in result.fields}:
            blank: dict[str, object] = dict.fromkeys(name for name, _ in result.fields)
            result.lower(blank | {"success": False, "error": "internal error"}, results[0])
        case ListCodec():
            result.lower([], results[0])
        case _:
            return _error(b"the host could not answer")
    return 0


def _error(message: bytes) -> int:
    pointer = c.wasmtime_error_new(message)
    return expect(ctypes.cast(pointer, ctypes.c_void_p).value, int)
