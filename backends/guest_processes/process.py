"""The port to a process that runs guests. The gateway implements it; this room keeps one alive."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from backends.settings import EmbeddedSettings


class ProcessNotStarted(Exception):
    """The process ended, or took too long, before it served; its log says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTask:
    """What one guest process has to do: answer the runner protocol on `listener`.

    Attributes:
        place: which of the processes it is: 0, 1, ...
        settings: its own, with its share of the bounds on all of them.
        token: the service token that calls must carry.
    """

    place: int
    settings: EmbeddedSettings
    listener: socket.socket
    token: str = field(repr=False)


class GuestProcess(Protocol):
    """One that serves."""

    @property
    def pid(self) -> int: ...

    async def ended(self) -> int:
        """Wait for its end. Returns the exit status, negative for a signal."""

    def kill(self) -> None:
        """End it at once, without a chance to finish anything; `ended` hears of it."""

    async def stop(self) -> None:
        """End it, within a bound. Safe to call twice."""


StartProcess = Callable[[ProcessTask], Awaitable[GuestProcess]]
"""Starts one and waits until it serves. Raises ProcessNotStarted, and then nothing is left."""
