"""What a worker is told before it does anything."""

from dataclasses import dataclass, replace

from backends.settings import BackendSettings, EmbeddedSettings, share
from gateway.generations.receipts import Outcome, Receipt
from gateway.settings import Settings

REPORT_S = 2.0
"""How long anybody waits for what a worker says of itself."""
START_S = 60.0
"""How long a worker may take from its process to its first accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The committed state that a worker begins with."""

    version: str  # of the program that says this
    place: int  # which of the workers it is: 0, 1, ...
    size: int  # how many workers there are
    settings: Settings  # already this worker's share
    generation: int
    receipts: tuple[list[Receipt], dict[Outcome, int]]
    sockets: tuple[tuple[int, ...], ...]  # descriptors by place; all of them are inherited


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The supervisor's answer to a worker that serves."""

    is_first: bool  # of a fleet that has just been started


def share_of(settings: Settings, workers: int) -> Settings:
    """The settings of one of `workers` workers: bounds on the whole gateway are shared out."""
    return replace(
        settings,
        max_in_flight=share(settings.max_in_flight, workers),
        backend=_of_backend(settings.backend, workers),
        embedded=_of_embedded(settings.embedded, workers),
    )


def _of_backend(backend: BackendSettings, workers: int) -> BackendSettings:
    return _of_embedded(backend, workers) if isinstance(backend, EmbeddedSettings) else backend


def _of_embedded(embedded: EmbeddedSettings, workers: int) -> EmbeddedSettings:
    return replace(embedded.shared(workers), processes=share(embedded.processes, workers))
