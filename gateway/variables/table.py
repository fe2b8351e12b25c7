"""The variables as rows: what documentation, listings and comparisons go through."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.variables.declared import Variables
from gateway.variables.marks import Accepts, Otherwise, Secret, Static


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One row of the table."""

    name: str
    field: str
    section: str
    meaning: str
    accepts: str
    default: str  # what an absent variable means, in Markdown
    written_default: str  # the same as one would write it; "" when it is worked out
    static: bool
    secret: bool


def _facts(info: FieldInfo) -> Iterator[object]:
    """The marks of a field, its own before those of its type, also inside an optional one."""
    yield from reversed(info.metadata)
    pending: list[Any] = [info.annotation]
    while pending:
        annotation = pending.pop()
        yield from reversed(getattr(annotation, "__metadata__", ()))
        pending.extend(getattr(annotation, "__args__", ()))


def _written(default: object) -> str:
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return "" if default is None else str(default)


def _variable(section: type[BaseModel], field: str, info: FieldInfo) -> Variable:
    facts = tuple(_facts(info))
    accepts = [fact.text for fact in facts if isinstance(fact, Accepts)]
    written = _written(info.default)
    default = f"`{written}`" if written else "none"
    return Variable(
        name=field.upper(),
        field=field,
        section=section.__doc__ or "",
        meaning=info.description or "",
        accepts=accepts[0],
        default=next((fact.text for fact in facts if isinstance(fact, Otherwise)), default),
        written_default=written,
        static=any(isinstance(fact, Static) for fact in facts),
        secret=any(isinstance(fact, Secret) for fact in facts),
    )


VARIABLES: Final = {
    field.upper(): _variable(section, field, info)
    for section in reversed(Variables.__bases__)
    if issubclass(section, BaseModel)
    for field, info in section.model_fields.items()
}
