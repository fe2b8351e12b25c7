"""A guest ready to be called: what does not change from call to call."""

from dataclasses import dataclass, field

from wasmtime import _bindings as c  # the binding has no counts, and takes long to list many
from wasmtime import component as wit

from backends.embedded.engine import WasmEngine
from backends.embedded.failures import GuestFailed
from backends.embedded.linking import MAX_NAMES, HostTable, Linked, LinkRefused, link
from backends.embedded.marshalling import RecordCodec, UnsupportedType, codecs_for
from backends.embedded.pace import Pace
from backends.embedded.packing import Packer, packer_for

_HANDLER = "handler"
_REQUEST_FIELDS = ["context", "http"]
_RESPONSE_FIELDS = ["status", "headers", "body"]


@dataclass(frozen=True, slots=True)
class PreparedGuest:
    """A compiled component with everything that does not change from call to call."""

    engine: WasmEngine
    component: wit.Component
    linked: Linked
    handler: wit.ExportIndex
    request: Packer = field(repr=False)
    response: RecordCodec = field(repr=False)
    pace: Pace = field(default_factory=Pace, repr=False, compare=False)


def prepare(engine: WasmEngine, component: wit.Component, table: HostTable) -> PreparedGuest:
    """Check a component against the world.

    Raises:
        GuestFailed: execute_no_handler, when it exports no such function, or
            execute_link_failed, when its imports exceed the world.
    """
    with component.type as declared:
        if c.wasmtime_component_type_export_count(declared.ptr(), engine.native.ptr()) > MAX_NAMES:
            raise GuestFailed("execute_no_handler", f"more than {MAX_NAMES} names are exported")
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
    return PreparedGuest(engine, component, linked, index, packer_for(request), response)


def _handler_codecs(kind: wit.FuncType) -> tuple[RecordCodec, RecordCodec]:
    try:
        params, result = codecs_for(kind)
    except UnsupportedType:
        params, result = [], None
    match params, result:
        case [RecordCodec() as request], RecordCodec() as response:
            names = [name for name, _ in request.fields], [name for name, _ in response.fields]
            if names == (_REQUEST_FIELDS, _RESPONSE_FIELDS):
                return request, response
    raise GuestFailed("execute_no_handler", "the export has another type")
