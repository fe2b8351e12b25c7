"""Dataclasses on a request's path: frozen for the type checker alone, so that they are cheap."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass with keywords only, which nobody may change.

    The type checker enforces that. A dataclass that is frozen at run time as well costs three
    times as much to make, and a request makes half a dozen.
    """
    return dataclass(slots=True, kw_only=True)(cls)
