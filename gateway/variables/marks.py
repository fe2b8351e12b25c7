"""What a variable's declaration may say besides its type, and what every section is made of."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, slots=True)
class Static:
    """Marks a variable that is fixed at start: a reload that changes it asks for a restart."""


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Says what an absent variable means, where the default is worked out."""

    text: str


@dataclass(frozen=True, slots=True)
class Accepts:
    """What to write, for error messages and the generated documentation."""

    text: str


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a variable whose value is shown to nobody."""


class Section(BaseModel):
    """Variables that belong together; its docstring is their heading."""

    model_config = ConfigDict(
        alias_generator=str.upper, frozen=True, extra="ignore", hide_input_in_errors=True
    )
