"""Typed reading of an envelope's members: each refusal names the member at fault."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Generic, TypeVar

import pybase64

_TEXTS: frozenset[type[object]] = frozenset({str})  # a parser makes no subclasses of it
M = TypeVar("M", str, int)


class EnvelopeError(ValueError):
    """The envelope breaks the protocol.

    Args:
        reason: one machine word, such as "answer_not_json".
        field: the member at fault, dotted from the top, when there is one.
    """

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(f"{reason}: {field}" if field else reason)
        self.reason = reason
        self.field = field


def json_object(
    holder: Mapping[str, Any], name: str, field: str, default: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The object at `name`; without a default it must be there."""
    value = holder.get(name, default)
    if value is None:
        raise EnvelopeError("missing_member", field)
    if not isinstance(value, dict):
        raise EnvelopeError("wrong_type", field)
    return value


class Members(Generic[M]):
    """Members of one object and one type, read together: a call for all instead of one for each.

    Args:
        kind: their type; of int, true and false are none.
        place: the object, dotted from the top.
        names: two of its members or more.
    """

    def __init__(self, kind: type[M], place: str, *names: str) -> None:
        self._place = place
        self._names = names
        self._all = itemgetter(*names)
        self._there: frozenset[type[object]] = frozenset({kind})
        self._there_or_not: frozenset[type[object]] = frozenset({kind, type(None)})

    def required(self, holder: Mapping[str, Any]) -> tuple[M, ...]:
        """The values, in the order of the names.

        Raises:
            EnvelopeError: "missing_member" or "wrong_type" with the first that is at fault.
        """
        try:
            values: tuple[M, ...] = self._all(holder)
        except KeyError:
            values = ()
        if values and self._there.issuperset(map(type, values)):
            return values
        raise self._first_fault(holder, self._there)

    def optional(self, holder: Mapping[str, Any]) -> tuple[M | None, ...]:
        """The values, in the order of the names; None for one that is null or not there.

        Raises:
            EnvelopeError: "wrong_type" with the first that is something else.
        """
        values = tuple(map(holder.get, self._names))
        if self._there_or_not.issuperset(map(type, values)):
            return values
        raise self._first_fault(holder, self._there_or_not)

    def _first_fault(
        self, holder: Mapping[str, Any], allowed: frozenset[type[object]]
    ) -> EnvelopeError:
        name = next(name for name in self._names if type(holder.get(name)) not in allowed)
        reason = "missing_member" if holder.get(name) is None else "wrong_type"
        return EnvelopeError(reason, f"{self._place}.{name}")


def string_map(holder: Mapping[str, Any], name: str, field: str) -> dict[str, str]:
    value = holder.get(name, {})
    if not isinstance(value, dict) or not _TEXTS.issuperset(map(type, value.values())):
        raise EnvelopeError("wrong_type", field)
    return value


def strings(holder: Mapping[str, Any], name: str, field: str) -> tuple[str, ...]:
    value = holder.get(name, [])
    if not isinstance(value, list) or not _TEXTS.issuperset(map(type, value)):
        raise EnvelopeError("wrong_type", field)
    return tuple(value)


def to_base64(body: bytes) -> str:
    return pybase64.b64encode_as_string(body)


def from_base64(text: str, *, reason: str, field: str) -> bytes:
    try:
        return pybase64.b64decode(text.strip(), validate=True)
    except ValueError:
        raise EnvelopeError(reason, field) from None
