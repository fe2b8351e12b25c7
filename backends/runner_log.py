"""A runner's log as values: its lines, and the promise of a backend that can read them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a container's log."""

    text: str  # without its end; what is no UTF-8 is replaced
    stream: Stream = "stdout"
    at: str = ""  # RFC 3339 with nanoseconds, by the engine's clock
    container: str = ""
    truncated: bool = False  # it was longer than is kept


@runtime_checkable
class KeepsLog(Protocol):
    """A backend whose runner's log can be read from here; not every one can."""

    def log_lines(self, *, follow: bool, tail: int | None) -> AsyncGenerator[LogLine, None]:
        """Lines as they come; ends when the backend is closed or, without `follow`, at the end.

        Args:
            tail: how many of each container's last lines to begin with; None for all.

        Close the generator. Raises nothing: what cannot be read is left out.
        """
