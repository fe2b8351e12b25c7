"""Loads structlog without the packages that it would use if they happen to be installed.

It imports rich for coloured tracebacks and greenlet for loggers of a greenlet, at its own
import and needed or not. Nothing here asks for either, and a serving process would hold them
for as long as it lives: 4 MiB.
"""

import sys
from typing import Final

_UNASKED: Final = ("rich", "greenlet")


def load_structlog() -> None:
    """Import structlog, if nobody has yet. Whoever else wants those packages still gets them."""
    absent = [name for name in _UNASKED if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # the documented way to hide one
    try:
        import structlog  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]
