"""Ties a component's imports to the host functions, and refuses what the world has not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import wasmtime
from wasmtime import _bindings as c  # the binding has no counts, and takes long to list many
from wasmtime import component as wit

from backends.embedded import wasi
from backends.embedded.engine import WasmEngine
from backends.embedded.host.never_waits import HostFunction
from backends.embedded.marshalling import UnsupportedType, codecs_for
from backends.embedded.trampoline import Trampoline, add, clock, trampoline, trap

HostTable = Mapping[str, Mapping[str, HostFunction]]
"""Host functions by WIT interface ("user-v2") and function name ("get-user")."""

MAX_NAMES = 1_000
"""That a component exports, or imports with what its interfaces hold; CPython imports 307."""

_PACKAGE = "alga:extension/"
_NAME_SHOWN = 80
_NO_HTTP = "; build without it, and ask other hosts through alga:extension/http"
_TOO_MANY = f"more than {MAX_NAMES} names are imported"

_Functions = dict[str, wit.FuncType]


class LinkRefused(Exception):
    """The component imports something it may not have; the message is for the log."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A linker for one component, with the callbacks that must live as long as it."""

    linker: wit.Linker
    uses_wasi: bool
    trampolines: tuple[Trampoline, ...] = field(repr=False)


def link(engine: WasmEngine, component: wit.Component, table: HostTable) -> Linked:
    """Make a linker that offers `component` its imports and nothing more.

    Raises:
        LinkRefused: an import is no interface of the world, or has a type that no
            host function can serve.
    """
    imports = _interfaces(engine, component)
    uses_wasi = any(wasi.is_linked(name) for name in imports)
    trampolines: list[Trampoline] = []
    try:
        linker = wit.Linker(engine.native)
        if uses_wasi:
            linker.add_wasip2()
        linker.allow_shadowing = True
        with linker.root() as root:
            for name, functions in imports.items():
                bound = _bind(name, functions, table)
                if bound is None:
                    continue
                with root.add_instance(name) as instance:
                    for function, callback in bound.items():
                        add(instance, function, callback)
                trampolines.extend(bound.values())
    except wasmtime.WasmtimeError as error:
        raise LinkRefused(str(error)) from error
    return Linked(linker, uses_wasi, tuple(trampolines))


def _interfaces(engine: WasmEngine, component: wit.Component) -> dict[str, _Functions]:
    """What the component imports, or LinkRefused."""
    found: dict[str, _Functions] = {}
    with component.type as declared:
        left = MAX_NAMES - c.wasmtime_component_type_import_count(
            declared.ptr(), engine.native.ptr()
        )
        if left < 0:
            raise LinkRefused(_TOO_MANY)
        for name, item in declared.imports(engine.native).items():
            kind = item.ty
            if not isinstance(kind, wit.ComponentInstanceType):
                raise LinkRefused(f"import {name[:_NAME_SHOWN]} is no interface")
            if not name.startswith(_PACKAGE) and not wasi.is_linked(name):
                hint = _NO_HTTP if name.startswith("wasi:http/") else ""
                raise LinkRefused(f"interface {name[:_NAME_SHOWN]} is not in the world{hint}")
            left -= c.wasmtime_component_instance_type_export_count(kind.ptr(), engine.native.ptr())
            if left < 0:
                raise LinkRefused(_TOO_MANY)
            found[name] = {
                function: what
                for function, exported in kind.exports(engine.native).items()
                if isinstance(what := exported.ty, wit.FuncType)
            }
    return found


def _bind(name: str, functions: _Functions, table: HostTable) -> dict[str, Trampoline] | None:
    """Callbacks for one interface; None leaves it as the engine provides it."""
    if name.startswith(_PACKAGE):
        offered = table.get(name.removeprefix(_PACKAGE), {})
        return {
            function: _host_trampoline(f"{name}.{function}"[:_NAME_SHOWN], kind, offered, function)
            for function, kind in functions.items()
        }
    if wasi.is_narrowed(name):
        return {
            function: clock(wasi.CLOCK[function])
            if function in wasi.CLOCK
            else trap(f"{name}.{function}"[:_NAME_SHOWN])
            for function in functions
        }
    return None


def _host_trampoline(
    label: str, kind: wit.FuncType, offered: Mapping[str, HostFunction], function: str
) -> Trampoline:
    if function not in offered:
        raise LinkRefused(f"function {label} is not in the world")
    try:
        params, result = codecs_for(kind)
    except UnsupportedType as error:
        raise LinkRefused(f"function {label} uses a {error}") from error
    return trampoline(label, offered[function], params, result)
