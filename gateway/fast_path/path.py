"""Finds the requests that the fast path answers: by their route, or as exact repeats."""

import re
import time
from collections.abc import Iterable
from typing import Final

from backends.memo import Memo
from gateway.fast_path.exchange import JOINED_BYTES, Exchange
from gateway.fast_path.parts import FastProtocol, FastRoute, Parts, Target
from gateway.fast_path.reader import Parsed
from gateway.fast_path.repeats import Repeats
from gateway.generations.live import LiveRef
from gateway.http.dispatch import pattern_of
from middleware.access_log import ANSWERED
from middleware.request_id import fresh_id

FAST_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
"""What a route for every method takes this way: not OPTIONS, which may be a preflight."""

_MAX_TARGETS: Final = 1024
_MAX_LINE_BYTES: Final = 512


class FastPath:
    """Finds the route of a request and begins to answer it.

    Args:
        live: what is committed.
        routes: template -> method -> route, the busiest template first.
    """

    def __init__(
        self,
        parts: Parts,
        live: LiveRef,
        routes: Iterable[tuple[str, dict[str, FastRoute]]],
    ) -> None:
        self.repeats = Repeats()
        self._parts = parts
        self._live = live
        found = list(routes)
        self._pattern = re.compile(
            "|".join(f"({pattern_of(template)})" for template, _ in found), re.ASCII
        )
        self._routes = [methods for _, methods in found]
        self._targets: Memo[bytes, Target] = Memo(_MAX_TARGETS)

    def find(self, method: str, target: str) -> FastRoute | None:
        """The route of a raw target, when it goes this way."""
        found = self._pattern.match(target)
        if found is None or found.lastindex is None:
            return None
        return self._routes[found.lastindex - 1].get(method)

    def begin(self, protocol: FastProtocol, parsed: Parsed, raw: bytes) -> bool:
        """Answer the request, now or in a task; False: it is not for this way."""
        target = self._targets.get(parsed.line) or self._target(parsed.line)
        if target is None or self._parts.state.stopping:
            return False
        live = self._live.now
        exchange = Exchange(self._parts, live, protocol, target, parsed)
        if exchange.begin() and (repeat := exchange.repeat(live)) is not None:
            self.repeats.remember(raw, exchange.request, repeat)
        return True

    def repeat(self, protocol: FastProtocol, raw: bytes) -> bool:
        """Answer the same bytes the same way; False: they have to be read."""
        if not self.repeats.known:
            return False
        parts, live, transport = self._parts, self._live.now, protocol.transport
        found = self.repeats.get(raw, live.policies, live.slot.current)
        if (
            found is None
            or transport is None
            or parts.state.stopping
            or parts.in_flight.count >= live.policies.load_shed.limit
        ):
            return False
        known, body = found
        began = time.perf_counter()
        request_id = known.request_id or fresh_id()
        head = parts.heads.finished(known.head, request_id)
        if len(body) <= JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        duration_s = time.perf_counter() - began
        parts.metrics.passed(
            known.label, known.method, known.status, known.served_by, "ok", duration_s
        )
        parts.lines.write(
            ANSWERED,
            request_id,
            known.method,
            known.label,
            known.served_by,
            known.facts,
            duration_s,
            0,
            len(body),
        )
        if protocol.writing_paused or not known.keep_alive:
            protocol.answered(keep_alive=known.keep_alive)
        return True

    def _target(self, line: bytes) -> Target | None:
        """Read a request line. The same files and endpoints are asked for again and again."""
        method, _, rest = line.decode("ascii", "surrogateescape").partition(" ")
        raw_path, _, version = rest.partition(" ")
        route = self.find(method, raw_path)
        if route is None or version != "HTTP/1.1":
            return None
        target = Target(route, method, raw_path)
        if target.has_one_reading and len(line) <= _MAX_LINE_BYTES:
            self._targets.keep(line, target)
        return target
