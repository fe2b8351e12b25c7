"""What an extension's page may be to the application whose origin it shares.

A page that came through the application's own address has the application's origin: its
cookies, its storage, its documents. A frame's `sandbox` attribute takes the origin away, but
whoever opens the page's address in a tab opens it without that frame. So the answer says the
same itself, and is obeyed wherever it is opened.
"""

from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from middleware.guard import Stamp
from middleware.source import Source

_POLICY: Final = "Content-Security-Policy"
_SANDBOX: Final = "sandbox allow-scripts allow-forms allow-popups"


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Whether pages lose their origin, and who may frame them.

    Attributes:
        sandbox: take the origin away. Not for pages on an origin of their own, which need
            storage and nothing of the application's is there to be taken.
        frame_ancestors: sources as in a policy, such as "'self' https://app.example", of one
            line; None: anybody.
    """

    sandbox: bool = False
    frame_ancestors: str | None = None

    @property
    def policy(self) -> str:
        """The policy that says so; empty when there is nothing to say."""
        said = [_SANDBOX] if self.sandbox else []
        if self.frame_ancestors:
            said.append(f"frame-ancestors {self.frame_ancestors}")
        return "; ".join(said)


EXTENSION_FILE = web.RequestKey("extension_file", bool)
"""Set by whoever answers with a file of an extension's page."""


def stamp_isolation(source: Source[Isolation]) -> Stamp:
    """The stamp that isolates the files of extensions' pages.

    The policy is one more field beside whatever the runner sent, and all of them count: it
    can only take away (CSP Level 3, section "Multiple policies"). Every file carries it, not
    only HTML, because SVG, XML and what a browser takes for either are documents too.

    A page without an origin asks for its own modules and fonts as a stranger, so in a
    sandbox they say that strangers may read them; they are the same for everybody.
    """

    def stamp(request: web.BaseRequest, response: web.StreamResponse) -> None:
        if EXTENSION_FILE not in request:
            return
        isolation = source()
        if isolation.policy:
            response.headers.add(_POLICY, isolation.policy)
        if isolation.sandbox:
            response.headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, "*")

    return stamp
