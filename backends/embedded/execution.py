"""One call of one guest: a fresh instance, its limits, its answer or why there is none."""

import ctypes
import time
from dataclasses import dataclass, field

import wasmtime
from wasmtime import _bindings as c  # the binding's Func converts values its own way
from wasmtime import component as wit

from backends.contract import ExecuteResult
from backends.embedded import wasi
from backends.embedded.deadline import Deadline
from backends.embedded.engine import WasmEngine
from backends.embedded.failures import (
    GuestFailed,
    failed_call,
    failed_instantiation,
    raise_if_failed,
)
from backends.embedded.guest_http import guest_request, guest_result
from backends.embedded.host.call import Call
from backends.embedded.linking import HostTable, Linked, LinkRefused, link
from backends.embedded.marshalling import RecordCodec, UnsupportedType, codec_for
from backends.embedded.trampoline import serving

_MEBIBYTE = 1_048_576
_HANDLER = "handler"
_REQUEST_FIELDS = ["context", "http"]
_RESPONSE_FIELDS = ["status", "headers", "body"]

# A component of several modules may bring several memories, each up to the limit; what
# language runtimes ship today has one or two.
_MAX_MEMORIES = 4
_MAX_TABLE_ELEMENTS = 1_000_000
_MAX_INSTANCES = 1_000


@dataclass(frozen=True, slots=True)
class PreparedGuest:
    """A compiled component with everything that does not change from call to call."""

    engine: WasmEngine
    component: wit.Component
    linked: Linked
    handler: wit.ExportIndex
    request: RecordCodec = field(repr=False)
    response: RecordCodec = field(repr=False)


def prepare(engine: WasmEngine, component: wit.Component, table: HostTable) -> PreparedGuest:
    """Check a component against the world.

    Raises:
        GuestFailed: execute_no_handler, when it exports no such function, or
            execute_link_failed, when its imports exceed the world.
    """
    with component.type as declared:
        exported = declared.exports(engine.native).get(_HANDLER)
        kind = exported.ty if exported is not None else None
    if not isinstance(kind, wit.FuncType):
        raise GuestFailed("execute_no_handler", "no function of that name is exported")
    request, response = _handler_codecs(kind)
    index = component.get_export_index(_HANDLER)
    if index is None:
        raise GuestFailed("execute_no_handler", "the export has no index")
    try:
        linked = link(engine, component, table)
    except LinkRefused as error:
        raise GuestFailed("execute_link_failed", str(error)) from error
    return PreparedGuest(engine, component, linked, index, request, response)


def _handler_codecs(kind: wit.FuncType) -> tuple[RecordCodec, RecordCodec]:
    try:
        params = [codec_for(declared) for _, declared in kind.params]
        result = codec_for(kind.result)
    except UnsupportedType:
        params, result = [], None
    match params, result:
        case [RecordCodec() as request], RecordCodec() as response:
            names = [name for name, _ in request.fields], [name for name, _ in response.fields]
            if names == (_REQUEST_FIELDS, _RESPONSE_FIELDS):
                return request, response
    raise GuestFailed("execute_no_handler", "the export has another type")


def run(guest: PreparedGuest, call: Call, deadline: Deadline, memory_mb: int) -> ExecuteResult:
    """Instantiate and call the handler, in this thread.

    Args:
        memory_mb: the limit of each linear memory, in MiB.

    Raises:
        GuestFailed: the guest gave no answer that can be passed on.
    """
    if deadline.at <= time.monotonic():
        raise GuestFailed("execute_timeout", "no time was left to run")
    with guest.engine.running(), _store(guest.engine, memory_mb) as store, serving(call):
        deadline.arm(store)
        try:
            instance = guest.linked.linker.instantiate(store, guest.component)
        except wasmtime.WasmtimeError as error:
            raise _stopped(deadline) or failed_instantiation(error) from error
        handler = instance.get_func(store, guest.handler)
        if handler is None:
            raise GuestFailed("execute_no_handler")
        return guest_result(_call(guest, handler, store, call, deadline))


def _store(engine: WasmEngine, memory_mb: int) -> wasmtime.Store:
    try:
        store = wasmtime.Store(engine.native)
        store.set_limits(
            memory_size=memory_mb * _MEBIBYTE,
            table_elements=_MAX_TABLE_ELEMENTS,
            instances=_MAX_INSTANCES,
            memories=_MAX_MEMORIES,
        )
        store.set_wasi(wasi.nothing())  # without it a guest that calls WASI aborts the process
    except wasmtime.WasmtimeError as error:
        raise GuestFailed("engine_init_failed", str(error)) from error
    return store


def _call(
    guest: PreparedGuest, handler: wit.Func, store: wasmtime.Store, call: Call, deadline: Deadline
) -> object:
    argument = c.wasmtime_component_val_t()
    answer = c.wasmtime_component_val_t()
    try:
        try:
            guest.request.lower(guest_request(call.request), argument)
        except (TypeError, ValueError) as error:
            raise GuestFailed("execute_failed", f"request: {type(error).__name__}") from error
        try:
            raise_if_failed(
                c.wasmtime_component_func_call(
                    ctypes.byref(handler._func),
                    store._context(),
                    ctypes.byref(argument),
                    1,
                    ctypes.byref(answer),
                    1,
                )
            )
        except wasmtime.WasmtimeError as error:
            raise _stopped(deadline) or failed_call(error) from error
        return guest.response.lift(answer)
    finally:
        c.wasmtime_component_val_delete(ctypes.byref(argument))
        c.wasmtime_component_val_delete(ctypes.byref(answer))


def _stopped(deadline: Deadline) -> GuestFailed | None:
    if deadline.interrupted:
        return GuestFailed("execute_interrupted", "nobody waits for the answer")
    if deadline.passed:
        return GuestFailed("execute_timeout", "the guest's time was up")
    return None
