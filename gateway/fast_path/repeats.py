"""Remembers answers that came from memory, by the exact bytes of their requests.

Every guard has seen those very bytes. As long as nothing that guards and stamps look at has
changed, the same bytes get the same answer; what belongs to one answer alone (its id, its date,
its line in the log) is made for each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backends.memo import Memo
from backends.slot import Generation
from gateway.fast_path.blocks import credentials_among
from gateway.fast_path.request import FastRequest
from gateway.generations.live import Policies
from middleware.backend_tag import ServedBy

MAX_REPEATS: Final = 512
MAX_BYTES: Final = 2048
"""The longest request that is remembered."""


@dataclass(slots=True, kw_only=True)
class Repeat:
    """An answer less its body, and what must not have changed for it to be given again.

    Attributes:
        head: all of it but the id and the date.
        request_id: the client's own; None: each gets a fresh one.
        again: gives the body of an answer to GET while the same question would be given the same
            file, else None. Held here, bodies would outlast the bounds of the cache.
    """

    label: str
    method: str
    status: int
    head: bytes
    request_id: str | None
    served_by: ServedBy
    facts: dict[str, object]
    policies: Policies
    generation: Generation
    again: Callable[[], bytes | memoryview | None]
    keep_alive: bool


class Repeats:
    """A bounded memory of them.

    Attributes:
        known: by the bytes of the request; `get` says whether one may still be given.
    """

    def __init__(self) -> None:
        self.known: Memo[bytes, Repeat] = Memo(MAX_REPEATS)

    def get(
        self, question: bytes, policies: Policies, generation: Generation
    ) -> tuple[Repeat, bytes | memoryview] | None:
        """The answer to these bytes and its body, if it still stands."""
        known = self.known.get(question)
        if known is None:
            return None
        if known.policies is policies and known.generation is generation:
            body = known.again()
            if body is not None:
                return known, b"" if known.method == "HEAD" else body
        del self.known[question]
        return None

    def remember(self, question: bytes, request: FastRequest, repeat: Repeat) -> None:
        """Keep it, unless it is long or holds a credential."""
        if len(question) > MAX_BYTES or credentials_among(request.fields):
            return
        self.known.keep(question, repeat)
