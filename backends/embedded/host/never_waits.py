"""Host functions, and the mark of those that may be called on the event loop's thread."""

from collections.abc import Callable
from typing import TypeVar

HostFunction = Callable[..., object]
"""Called as `fn(call, *args)` in a guest's thread; never raises, never outlives the deadline.

Both ways the values are plain: a WIT record is a dict with kebab-case keys, list<u8> is bytes,
an option is the value or None, an enum is a str, a result is Ok or Err, a tuple is a tuple.
"""

_MARK = "answers_at_once"

_F = TypeVar("_F", bound=HostFunction)


def answers_at_once(function: _F) -> _F:
    """Mark a function that waits for nothing: no file, no network, no lock held for long.

    A wrapper that is made with functools.wraps carries the mark, too.
    """
    setattr(function, _MARK, True)
    return function


def never_waits(function: HostFunction) -> bool:
    """Whether the event loop may call it. Any other is called in a thread of the guest's own."""
    return getattr(function, _MARK, False) is True
