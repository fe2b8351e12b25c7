"""What a request carries, when it may carry nothing under a key."""

from typing import Any, TypeVar

from aiohttp import web

T = TypeVar("T")

FIELDS_MADE: web.RequestKey[dict[Any, Any]] = web.RequestKey("fields_made")
"""What followed from these very header fields for an earlier request. Never a credential."""


def carried(request: web.BaseRequest, key: web.RequestKey[T]) -> T | None:
    """The value under `key`, or None.

    aiohttp's own get() is that of an abstract mapping: it raises and catches a KeyError for
    every absent key, which costs more than all other look-ups of a request together.
    """
    state: dict[object, T] = request._state  # type: ignore[assignment]  # values vary by key
    return state.get(key)
