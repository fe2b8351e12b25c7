"""Values on a request's path: cheap to make, and frozen in the eyes of the type checker."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass with keywords only, which nobody may change.

    The type checker holds everybody to that. Holding them to it at run time as well makes
    each new object cost three times as much, and a request makes half a dozen.
    """
    return dataclass(slots=True, kw_only=True)(cls)
