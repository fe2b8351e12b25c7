"""Where a middleware gets its configuration: asked once per request.

A reload replaces configuration while requests run. A middleware that kept the value it was
built with would go on with the old one, so its factory takes a function instead; within one
request the answer is used throughout.
"""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

Source = Callable[[], T]
"""A function without arguments that returns the current, frozen configuration. Never raises."""
