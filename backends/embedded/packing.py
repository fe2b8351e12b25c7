"""Lays a request out in one buffer of our own, as the engine's C structures, for it to read.

The engine copies the argument of a call, so it need not have allocated any of it. Filling one
buffer with `struct` takes a third of the time of building the value by calls of the C API. Strings,
records, lists and options are written like this; any other type goes through its codec's `lower`.
"""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

from wasmtime import _bindings as c
from wasmtime import _ffi as ffi

from backends.embedded.marshalling import ListCodec, OptionCodec, RecordCodec
from backends.embedded.scalars import Codec, StringCodec, expect

_VALUE = c.wasmtime_component_val_t
_ENTRY = c.wasmtime_component_valrecord_entry_t
_VALUE_BYTES = ctypes.sizeof(_VALUE)
_ENTRY_BYTES = ctypes.sizeof(_ENTRY)
_VALUE_IN_ENTRY = _ENTRY.val.offset
_PAYLOAD_AT = _VALUE.of.offset

_STRING = ffi.WASMTIME_COMPONENT_STRING.value
_LIST = ffi.WASMTIME_COMPONENT_LIST.value
_RECORD = ffi.WASMTIME_COMPONENT_RECORD.value
_OPTION = ffi.WASMTIME_COMPONENT_OPTION.value

_write_vector = struct.Struct(f"=B{_PAYLOAD_AT - 1}xQQ").pack_into  # kind, size, address
_write_option = struct.Struct(f"=B{_PAYLOAD_AT - 1}xQ").pack_into  # kind, address
_write_name = struct.Struct("=QQ").pack_into  # size, address

_FIRST_BYTES = 16_384
_ALIGNED = 8


class _Full(Exception):
    pass


class Packed:
    """Zeroed memory that is given out piece by piece, and begins with a value of the engine."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buffer = bytearray(size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self.used = 0
        self.foreign: list[Any] = []  # values in here that hold memory of the engine

    @property
    def value(self) -> Any:
        """For the engine to read, as long as this object lives and is not freed."""
        return _VALUE.from_address(self.address)

    def take(self, size: int) -> int:
        """The offset of the next `size` bytes. Raises _Full."""
        at = self.used
        self.used = at + size + -size % _ALIGNED
        if self.used > self.size:
            raise _Full
        return at

    def free(self) -> None:
        """Give back what the engine's memory holds. Safe twice."""
        while self.foreign:
            c.wasmtime_component_val_delete(ctypes.byref(self.foreign.pop()))


Packer = Callable[[object, Packed, int], None]
"""Writes a value at an offset. Raises TypeError or ValueError, or _Full."""


def packed(packer: Packer, value: object) -> Packed:
    """Write `value`; `free` it when the engine has read it.

    Raises:
        TypeError, ValueError: the value does not fit its type.
    """
    size = _FIRST_BYTES
    while True:
        memory = Packed(size)
        try:
            packer(value, memory, memory.take(_VALUE_BYTES))
        except _Full:
            memory.free()
            size *= 4
        except BaseException:
            memory.free()
            raise
        else:
            return memory


def packer_for(codec: Codec) -> Packer:
    """Plan how values of a codec's type are written."""
    match codec:
        case StringCodec():
            return _pack_text
        case RecordCodec():
            return _record_packer(codec)
        case ListCodec():
            return _list_packer(packer_for(codec.element))
        case OptionCodec():
            return _option_packer(packer_for(codec.payload))
        case _:
            return _lowering(codec)


def _pack_text(value: object, memory: Packed, at: int) -> None:
    raw = expect(value, str).encode()
    size = len(raw)
    start = memory.take(size)
    memory.buffer[start : start + size] = raw
    _write_vector(memory.buffer, at, _STRING, size, memory.address + start)


def _record_packer(codec: RecordCodec) -> Packer:
    names = [name.encode() for name, _ in codec.fields]
    kept = ctypes.create_string_buffer(b"".join(names))
    blank, address = bytearray(len(names) * _ENTRY_BYTES), ctypes.addressof(kept)
    for index, name in enumerate(names):
        _write_name(blank, index * _ENTRY_BYTES, len(name), address)
        address += len(name)
    fields = [
        (name, index * _ENTRY_BYTES + _VALUE_IN_ENTRY, packer_for(field))
        for index, (name, field) in enumerate(codec.fields)
    ]

    def pack(value: object, memory: Packed, at: int, _kept: object = kept) -> None:
        values = expect(value, dict)
        start = memory.take(len(blank))
        memory.buffer[start : start + len(blank)] = blank
        _write_vector(memory.buffer, at, _RECORD, len(fields), memory.address + start)
        for name, offset, pack_field in fields:
            if name not in values:
                raise ValueError(f"field {name} is missing")
            pack_field(values[name], memory, start + offset)

    return pack


def _list_packer(pack_element: Packer) -> Packer:
    def pack(value: object, memory: Packed, at: int) -> None:
        items = expect(value, list)
        start = memory.take(len(items) * _VALUE_BYTES)
        _write_vector(memory.buffer, at, _LIST, len(items), memory.address + start)
        for item in items:
            pack_element(item, memory, start)
            start += _VALUE_BYTES

    return pack


def _option_packer(pack_payload: Packer) -> Packer:
    def pack(value: object, memory: Packed, at: int) -> None:
        if value is None:
            memory.buffer[at] = _OPTION
            return
        start = memory.take(_VALUE_BYTES)
        _write_option(memory.buffer, at, _OPTION, memory.address + start)
        pack_payload(value, memory, start)

    return pack


def _lowering(codec: Codec) -> Packer:
    def pack(value: object, memory: Packed, at: int) -> None:
        target = _VALUE.from_address(memory.address + at)
        memory.foreign.append(target)  # before it is filled: it may get half of it
        codec.lower(value, target)

    return pack
