"""Typed reading of an envelope's members: each refusal names the member at fault."""

from collections.abc import Mapping
from typing import Any

from backends.contract import is_identifier

_TEXTS = frozenset({str})  # a parser makes no subclasses of it


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
    holder: Mapping[str, Any], name: str, field: str, default: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """The object at `name`; without a default it must be there."""
    value = holder.get(name, default)
    if value is None:
        raise EnvelopeError("missing_member", field)
    if not isinstance(value, dict):
        raise EnvelopeError("wrong_type", field)
    return value


def required(holder: Mapping[str, Any], name: str, field: str) -> str:
    value = holder.get(name)
    if isinstance(value, str):
        return value
    raise EnvelopeError("missing_member" if value is None else "wrong_type", field)


def identifier(context: Mapping[str, Any], name: str) -> str:
    value = required(context, name, f"context.{name}")
    if not is_identifier(value):
        raise EnvelopeError("invalid_member", f"context.{name}")
    return value


def text(holder: Mapping[str, Any], name: str, field: str, default: str | None) -> str | None:
    value = holder.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise EnvelopeError("wrong_type", field)
    return value


def natural(limits: Mapping[str, Any], name: str) -> int | None:
    value = limits.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise EnvelopeError("wrong_type", f"limits.{name}")
    return value


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
