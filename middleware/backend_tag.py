"""Every answer says which backend stood behind it: an operator's first question after a swap."""

from dataclasses import dataclass

from aiohttp import web

from middleware.carried import carried
from middleware.guard import Stamp
from middleware.source import Source


@dataclass(frozen=True, slots=True)
class ServedBy:
    """A backend as the outside may know it."""

    kind: str
    generation: int


SERVED_BY = web.RequestKey("served_by", ServedBy)
"""Set by whoever hands the request to a backend: a swap may happen before the answer."""


def served_by_of(request: web.BaseRequest, current: ServedBy) -> ServedBy:
    """The backend that had a part in the answer; where none had, the current one."""
    return carried(request, SERVED_BY) or current


def stamp_backend(current: Source[ServedBy]) -> Stamp:
    """The stamp that names the backend.

    Args:
        current: named on answers that no backend had a part in.
    """

    def stamp(request: web.BaseRequest, response: web.StreamResponse) -> None:
        served_by = served_by_of(request, current())
        response.headers["x-runner-backend"] = served_by.kind
        response.headers["x-runner-generation"] = str(served_by.generation)
        # Extensions are third parties: no browser may guess that their text is a script.
        response.headers["x-content-type-options"] = "nosniff"

    return stamp
