"""Plain Python values to and from the engine's, by a plan made once per WIT type.

The binding's own conversion asks the type for its shape on every value, walks list<u8>
byte by byte (seconds for a megabyte, holding the interpreter lock) and cannot express
the error of result<option<record>, enum>. Here each type becomes a codec when a
component is linked; a call then only moves data.

record <-> dict with the WIT's field names, list <-> list, list<u8> <-> bytes,
option <-> value or None, enum <-> str, tuple <-> tuple, result <-> Ok or Err.

Ownership: `lift` only reads, so whoever owns the value deletes it once. `lower` writes
into zeroed memory, which is the valid value `false`, and attaches every allocation to
its parent before filling it, so a value half written is deleted like any other.
"""

import ctypes
from collections.abc import Callable

from wasmtime import _bindings as c  # the C API: the binding's public classes cannot do this
from wasmtime import _ffi as ffi
from wasmtime import component as wit

from backends.embedded import short_calls
from backends.embedded.host.call import Err, Ok
from backends.embedded.scalars import (
    Allowance,
    BoolCodec,
    CharCodec,
    Codec,
    CValue,
    EnumCodec,
    FloatCodec,
    IntCodec,
    StringCodec,
    expect,
    put_bytes,
)

_VALUE_BYTES = ctypes.sizeof(c.wasmtime_component_val_t)
_PAYLOAD_AT = c.wasmtime_component_val_t.of.offset
_ENTRY_BYTES = ctypes.sizeof(c.wasmtime_component_valrecord_entry_t)
_BYTES_PER_COPY = 65_536

_U8 = ffi.WASMTIME_COMPONENT_U8.value
_LIST = ffi.WASMTIME_COMPONENT_LIST.value
_RECORD = ffi.WASMTIME_COMPONENT_RECORD.value
_TUPLE = ffi.WASMTIME_COMPONENT_TUPLE.value
_OPTION = ffi.WASMTIME_COMPONENT_OPTION.value
_RESULT = ffi.WASMTIME_COMPONENT_RESULT.value


MAX_PARTS = 1_000
"""Of one function's types, counted wherever they are used; the sample's have 26 at most.

Eighteen types, each a pair of the one before, have half a million.
"""


class UnsupportedType(Exception):
    """The world has no such type: a resource, a stream, flags, a variant, or too large a one."""


def zero(target: CValue) -> None:
    """Make `target` the value `false`, without freeing what it held."""
    ctypes.memset(ctypes.addressof(target), 0, _VALUE_BYTES)


def _box() -> CValue:
    box = short_calls.val_new(ctypes.byref(c.wasmtime_component_val_t()))
    zero(box.contents)  # the engine copies the value, not the bytes around it
    return box


class BytesCodec:
    """list<u8>: the engine keeps each byte in a value of its own, 32 bytes long.

    Strided slices move them at the speed of memory, in pieces so that no copy of the
    whole array is made and the interpreter lock is never held for long.
    """

    def lift(self, source: CValue, _allowance: Allowance) -> bytes:
        vector = source.of.list
        first = ctypes.addressof(vector.data.contents) if vector.size else 0
        pieces = []
        for start in range(0, vector.size, _BYTES_PER_COPY):
            count = min(_BYTES_PER_COPY, vector.size - start)
            raw = ctypes.string_at(first + start * _VALUE_BYTES, count * _VALUE_BYTES)
            pieces.append(raw[_PAYLOAD_AT::_VALUE_BYTES])
        return b"".join(pieces)

    def lower(self, value: object, target: CValue) -> None:
        data = expect(value, bytes)
        vector = target.of.list
        c.wasmtime_component_vallist_new_uninit(ctypes.byref(vector), len(data))
        first = ctypes.addressof(vector.data.contents) if data else 0
        for start in range(0, len(data), _BYTES_PER_COPY):
            piece = data[start : start + _BYTES_PER_COPY]
            raw = bytearray(len(piece) * _VALUE_BYTES)
            raw[::_VALUE_BYTES] = bytes((_U8,)) * len(piece)
            raw[_PAYLOAD_AT::_VALUE_BYTES] = piece
            ctypes.memmove(first + start * _VALUE_BYTES, bytes(raw), len(raw))
        target.kind = _LIST


class ListCodec:
    def __init__(self, element: Codec) -> None:
        self.element = element

    def lift(self, source: CValue, allowance: Allowance) -> list[object]:
        vector = source.of.list
        allowance.take_values(vector.size)
        lift, data = self.element.lift, vector.data
        return [lift(data[index], allowance) for index in range(vector.size)]

    def lower(self, value: object, target: CValue) -> None:
        items = expect(value, list)
        vector = target.of.list
        short_calls.vallist_new_uninit(ctypes.byref(vector), len(items))
        ctypes.memset(vector.data, 0, len(items) * _VALUE_BYTES)
        target.kind = _LIST
        for index, item in enumerate(items):
            self.element.lower(item, vector.data[index])


class TupleCodec:
    def __init__(self, elements: tuple[Codec, ...]) -> None:
        self._elements = elements

    def lift(self, source: CValue, allowance: Allowance) -> tuple[object, ...]:
        allowance.take_values(len(self._elements))
        data = source.of.tuple.data
        return tuple(
            element.lift(data[index], allowance) for index, element in enumerate(self._elements)
        )

    def lower(self, value: object, target: CValue) -> None:
        items = expect(value, tuple)
        if len(items) != len(self._elements):
            raise ValueError("wrong number of items in a tuple")
        vector = target.of.tuple
        short_calls.valtuple_new_uninit(ctypes.byref(vector), len(items))
        ctypes.memset(vector.data, 0, len(items) * _VALUE_BYTES)
        target.kind = _TUPLE
        for index, element in enumerate(self._elements):
            element.lower(items[index], vector.data[index])


class RecordCodec:
    """A record by the fields that the component declares: a dict may hold more than those."""

    def __init__(self, fields: tuple[tuple[str, Codec], ...]) -> None:
        self.fields = fields
        self._raw_names = [name.encode() for name, _ in fields]

    def lift(self, source: CValue, allowance: Allowance) -> dict[str, object]:
        allowance.take_values(len(self.fields))
        data = source.of.record.data
        return {
            name: codec.lift(data[index].val, allowance)
            for index, (name, codec) in enumerate(self.fields)
        }

    def lower(self, value: object, target: CValue) -> None:
        values = expect(value, dict)
        vector = target.of.record
        short_calls.valrecord_new_uninit(ctypes.byref(vector), len(self.fields))
        ctypes.memset(vector.data, 0, len(self.fields) * _ENTRY_BYTES)
        target.kind = _RECORD
        for index, (name, codec) in enumerate(self.fields):
            if name not in values:
                raise ValueError(f"field {name} is missing")
            entry = vector.data[index]
            put_bytes(self._raw_names[index], entry.name)
            codec.lower(values[name], entry.val)


class OptionCodec:
    def __init__(self, payload: Codec) -> None:
        self.payload = payload

    def lift(self, source: CValue, allowance: Allowance) -> object:
        payload = source.of.option
        return self.payload.lift(payload.contents, allowance) if payload else None

    def lower(self, value: object, target: CValue) -> None:
        target.kind = _OPTION
        if value is not None:
            target.of.option = _box()
            self.payload.lower(value, target.of.option.contents)


class ResultCodec:
    def __init__(self, ok: Codec | None, err: Codec | None) -> None:
        self._ok = ok
        self.err = err

    def lift(self, source: CValue, allowance: Allowance) -> Ok | Err:
        result = source.of.result
        codec = self._ok if result.is_ok else self.err
        payload = codec.lift(result.val.contents, allowance) if codec else None
        return Ok(payload) if result.is_ok else Err(str(payload))

    def lower(self, value: object, target: CValue) -> None:
        if not isinstance(value, Ok | Err):
            raise TypeError("expected Ok or Err")
        good = isinstance(value, Ok)
        codec = self._ok if good else self.err
        result = target.of.result
        result.is_ok = good
        target.kind = _RESULT
        if codec is not None:
            result.val = _box()
            codec.lower(value.value if isinstance(value, Ok) else value.tag, result.val.contents)


_SCALARS: dict[type, Callable[[], Codec]] = {
    wit.Bool: BoolCodec,
    wit.S8: lambda: IntCodec("s8", ffi.WASMTIME_COMPONENT_S8.value),
    wit.U8: lambda: IntCodec("u8", _U8),
    wit.S16: lambda: IntCodec("s16", ffi.WASMTIME_COMPONENT_S16.value),
    wit.U16: lambda: IntCodec("u16", ffi.WASMTIME_COMPONENT_U16.value),
    wit.S32: lambda: IntCodec("s32", ffi.WASMTIME_COMPONENT_S32.value),
    wit.U32: lambda: IntCodec("u32", ffi.WASMTIME_COMPONENT_U32.value),
    wit.S64: lambda: IntCodec("s64", ffi.WASMTIME_COMPONENT_S64.value),
    wit.U64: lambda: IntCodec("u64", ffi.WASMTIME_COMPONENT_U64.value),
    wit.F32: lambda: FloatCodec("f32", ffi.WASMTIME_COMPONENT_F32.value),
    wit.F64: lambda: FloatCodec("f64", ffi.WASMTIME_COMPONENT_F64.value),
    wit.Char: CharCodec,
    wit.String: StringCodec,
}


def codecs_for(function: wit.FuncType) -> tuple[list[Codec], Codec | None]:
    """Plan how a function's arguments cross, and its result if it has one.

    Raises:
        UnsupportedType: a type that the guest's world does not use.
    """
    parts = _Parts()
    params = [_planned(declared, parts) for _, declared in function.params]
    return params, _optional(function.result, parts)


def codec_for(valtype: object) -> Codec:
    """Plan how values of a component's declared type cross. Raises as `codecs_for`."""
    return _planned(valtype, _Parts())


class _Parts:
    def __init__(self) -> None:
        self._left = MAX_PARTS

    def take(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise UnsupportedType(f"type of more than {MAX_PARTS} parts")


def _planned(valtype: object, parts: _Parts) -> Codec:
    parts.take(1)
    match valtype:
        case wit.ListType():
            element = valtype.element
            if isinstance(element, wit.U8):
                return BytesCodec()
            return ListCodec(_planned(element, parts))
        case wit.RecordType():
            fields = valtype.fields
            parts.take(len(fields))  # at once: they were made just to be counted
            return RecordCodec(tuple((name, _planned(kind, parts)) for name, kind in fields))
        case wit.TupleType():
            elements = valtype.elements
            parts.take(len(elements))
            return TupleCodec(tuple(_planned(kind, parts) for kind in elements))
        case wit.EnumType():
            names = tuple(valtype.names)
            parts.take(len(names))
            return EnumCodec(names)
        case wit.OptionType():
            return OptionCodec(_planned(valtype.payload, parts))
        case wit.ResultType():
            return ResultCodec(_optional(valtype.ok, parts), _optional(valtype.err, parts))
    try:
        return _SCALARS[type(valtype)]()
    except KeyError:
        raise UnsupportedType(type(valtype).__name__) from None


def _optional(valtype: object | None, parts: _Parts) -> Codec | None:
    return None if valtype is None else _planned(valtype, parts)
