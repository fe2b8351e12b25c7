"""Reads what a request carries under a key that may not be set."""

from typing import Any, TypeVar

from aiohttp import web

T = TypeVar("T")

FIELDS_MADE: web.RequestKey[dict[Any, Any]] = web.RequestKey("fields_made")
"""A cache shared by all requests with the very same header fields, for what follows from those
alone. It outlives its request, so no credential belongs in it."""


def carried(request: web.BaseRequest, key: web.RequestKey[T]) -> T | None:
    """The value under `key`, or None.

    aiohttp's own get() is that of an abstract mapping: it raises and catches a KeyError for
    every absent key, which costs more than all other look-ups of a request together.
    """
    state: dict[object, T] = request._state  # type: ignore[assignment]  # values vary by key
    return state.get(key)
