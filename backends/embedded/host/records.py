"""JSON objects of the host application <-> WIT records of the guest."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import orjson


class Malformed(Exception):
    """The document does not have the promised shape."""


Reader = Callable[[object], object]
"""Turns one JSON value into the WIT value; raises Malformed."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a record: its kebab-case name and how its value is read."""

    name: str
    read: Reader
    optional: bool = False  # a WIT option: absent or null is None


def camel_case(kebab: str) -> str:
    """The JSON spelling of a WIT name.

    >>> camel_case("is-inactive")
    'isInactive'
    """
    first, *rest = kebab.split("-")
    return first + "".join(word.capitalize() for word in rest)


def to_json(record: Mapping[str, object]) -> dict[str, object]:
    """`record` as a JSON object, absent options left out: some validators mind a null."""
    return {camel_case(name): value for name, value in record.items() if value is not None}


def read_record(document: object, members: Iterable[Member]) -> dict[str, object]:
    """The record in `document`, whose names may be in camel or in snake case."""
    if not isinstance(document, dict):
        raise Malformed
    return {member.name: _read_member(document, member) for member in members}


def read_list(document: object, members: tuple[Member, ...]) -> list[dict[str, object]]:
    """A JSON array of records."""
    if not isinstance(document, list):
        raise Malformed
    return [read_record(item, members) for item in document]


def text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed
    return value


def number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed
    return float(value)


def u32(value: object) -> int:
    return _unsigned(value, 32)


def u64(value: object) -> int:
    return _unsigned(value, 64)


def _unsigned(value: object, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**bits:
        raise Malformed
    return value


def refusal(shape: Iterable[Member], reason: str, field_errors: object = None) -> dict[str, object]:
    """The result record, with these members, of a change that was not made."""
    record: dict[str, object] = {member.name: None for member in shape}
    record |= {"success": False, "error": reason}
    if field_errors is not None and "field-errors" in record:
        record["field-errors"] = json_text(field_errors)
    return record


def json_text(value: object) -> str:
    """A string as it is, anything else written as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than can be written back
        raise Malformed from None


def one_of(*words: str) -> Reader:
    """Reads a WIT enum."""

    def read(value: object) -> str:
        if value not in words:
            raise Malformed
        return text(value)

    return read


def _read_member(document: Mapping[str, object], member: Member) -> object:
    value = document.get(camel_case(member.name))
    if value is None:
        value = document.get(member.name.replace("-", "_"))
    if value is None and member.optional:
        return None
    return member.read(value)
