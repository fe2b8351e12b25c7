"""Numbers, strings and enums to and from the engine's values; `marshalling` has the rest."""

import ctypes
from typing import Any, Protocol, TypeVar

from wasmtime import _ffi as ffi

from backends.embedded import short_calls

CValue = Any
"""A `wasmtime_component_val_t`, or a view of one inside another; ctypes cannot say more."""

MAX_VALUES = 50_000
MAX_TEXT_BYTES = 1024 * 1024

_BOOL = ffi.WASMTIME_COMPONENT_BOOL.value
_CHAR = ffi.WASMTIME_COMPONENT_CHAR.value
_STRING = ffi.WASMTIME_COMPONENT_STRING.value
_ENUM = ffi.WASMTIME_COMPONENT_ENUM.value

_T = TypeVar("_T")


class TooMuch(Exception):
    """A guest hands over more at once than its world has a use for."""


class Allowance:
    """What a guest may hand over at once: as the arguments of one import, or as its answer.

    The engine's own bound, 128 MiB, is one of memory. Millions of values are read for seconds,
    perhaps on the event loop's thread, and much that is done with a text takes many times its
    size. Bytes are not counted: they are cheap, and the engine moves few of them.
    """

    __slots__ = ("_text_bytes", "_values")

    def __init__(self) -> None:
        self._values = MAX_VALUES
        self._text_bytes = MAX_TEXT_BYTES

    def take_values(self, count: int) -> None:
        """Raises TooMuch."""
        self._values -= count
        if self._values < 0:
            raise TooMuch

    def take_text(self, size: int) -> None:
        """Raises TooMuch."""
        self._text_bytes -= size
        if self._text_bytes < 0:
            raise TooMuch


class Codec(Protocol):
    """How values of one WIT type cross."""

    def lift(self, source: CValue, allowance: Allowance) -> object:
        """Read a value of the engine; leaves it as it was. Raises TooMuch."""

    def lower(self, value: object, target: CValue) -> None:
        """Write into zeroed memory. Raises TypeError or ValueError when it does not fit."""


def expect(value: object, kind: type[_T]) -> _T:
    """Give `value` back as a `kind`. Raises TypeError, naming types only."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, not {type(value).__name__}")
    return value


def put_text(text: object, target: CValue) -> None:
    """Write a string into an empty byte vector. Raises TypeError or UnicodeEncodeError."""
    put_bytes(expect(text, str).encode(), target)


def put_bytes(raw: bytes, target: CValue) -> None:
    """Write UTF-8 into an empty byte vector."""
    short_calls.byte_vec_new(ctypes.addressof(target), len(raw), raw)


def get_text(source: CValue) -> str:
    """Read a byte vector that holds UTF-8, as the engine guarantees for strings."""
    return ctypes.string_at(source.data, source.size).decode()


class BoolCodec:
    def lift(self, source: CValue, _allowance: Allowance) -> bool:
        return bool(source.of.boolean)

    def lower(self, value: object, target: CValue) -> None:
        target.of.boolean = expect(value, bool)
        target.kind = _BOOL


class IntCodec:
    """One of the eight integer types, its range checked: C would cut it silently."""

    def __init__(self, name: str, kind: int) -> None:
        bits = int(name[1:])
        signed = name.startswith("s")
        self._name = name
        self._kind = kind
        self._range = range(-(1 << bits - 1), 1 << bits - 1) if signed else range(1 << bits)

    def lift(self, source: CValue, _allowance: Allowance) -> int:
        return int(getattr(source.of, self._name))

    def lower(self, value: object, target: CValue) -> None:
        number = expect(value, int)
        if number not in self._range:
            raise ValueError(f"out of range for {self._name}")
        setattr(target.of, self._name, number)
        target.kind = self._kind


class FloatCodec:
    def __init__(self, name: str, kind: int) -> None:
        self._name = name
        self._kind = kind

    def lift(self, source: CValue, _allowance: Allowance) -> float:
        return float(getattr(source.of, self._name))

    def lower(self, value: object, target: CValue) -> None:
        number = value if isinstance(value, int) else expect(value, float)
        setattr(target.of, self._name, float(number))
        target.kind = self._kind


class CharCodec:
    def lift(self, source: CValue, _allowance: Allowance) -> str:
        return chr(source.of.character)

    def lower(self, value: object, target: CValue) -> None:
        target.of.character = ord(expect(value, str))
        target.kind = _CHAR


class StringCodec:
    def lift(self, source: CValue, allowance: Allowance) -> str:
        allowance.take_text(source.of.string.size)
        return get_text(source.of.string)

    def lower(self, value: object, target: CValue) -> None:
        put_text(value, target.of.string)
        target.kind = _STRING


class EnumCodec:
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def lift(self, source: CValue, _allowance: Allowance) -> str:
        return get_text(source.of.enumeration)

    def lower(self, value: object, target: CValue) -> None:
        if value not in self.names:
            raise ValueError("not a name of this enum")
        put_text(value, target.of.enumeration)
        target.kind = _ENUM
