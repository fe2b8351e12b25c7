"""UI files answered without the runner, by the runner's leave.

A bundle's address names its content, so a file that was fetched once need not be fetched
again. Three rules keep that honest:

* Only bytes whose SHA-256 is the one in the runner's entity tag are kept.
* A file is given only to a caller whom a runner answered for it a short while ago; everyone
  else's question goes to the runner first, with the tag instead of the bytes.
* Concurrent questions for one file are one question, and whoever asked it may leave.

It outlives generations. A reload has the new runner decide about every caller again; the
bytes stay.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from backends.contract import AssetRequest, AssetResponse
from gateway.asset_cache.admission import Claim, Question, asking_for_bytes, asking_whether
from gateway.asset_cache.answer import RequestFields
from gateway.asset_cache.bodies import sliced
from gateway.asset_cache.entry import CachedAnswer, Entry, Key
from gateway.asset_cache.fills import Fills
from gateway.asset_cache.flight import Flight, Outcome
from gateway.asset_cache.grants import Caller
from gateway.asset_cache.kept import KeptFiles
from gateway.asset_cache.lookup import BackendFetch, Lookup

_Topic = tuple[Key, Caller | None]
"""What a flight is about: a file, or one caller's right to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """Counts since the start, and what is held now."""

    hits: int
    misses: int  # the runner was asked, if only for its leave
    entries: int
    bytes: int  # in memory, compressed forms included
    evictions: int
    rejected: int  # answers whose bytes were not the ones that their tag names


class AssetCache:
    """In front of every generation's `fetch_asset`.

    Args:
        max_bytes: the most that is held in memory; 0 turns the cache off.
        folder: where files are kept besides, up to eight times as much; None for memory only.
        clock: monotonic seconds, for what expires.

    Attributes:
        is_on: whether anything is kept at all.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept = KeptFiles(max_bytes=max_bytes, folder=folder, clock=clock)
        self._fills = Fills(still_read_bytes=lambda: self._kept.memory.still_read_bytes)
        self._flights: dict[_Topic, Flight] = {}
        self._misses = 0
        self.is_on = max_bytes > 0

    def try_out(self) -> None:
        """Say soon, in the log, if the folder cannot be used; `reconfigure` does it, too."""
        self._kept.try_out()

    def reconfigure(self, *, max_bytes: int, folder: Path | None) -> None:
        """Take other bounds, and let the runner of today decide about everyone anew."""
        self._kept.reconfigure(max_bytes=max_bytes, folder=folder)
        self.is_on = max_bytes > 0

    def stats(self) -> CacheStats:
        """For metrics; waits for nothing."""
        memory = self._kept.memory
        return CacheStats(
            hits=self._kept.hits,
            misses=self._misses,
            entries=len(memory),
            bytes=memory.used_bytes,
            evictions=memory.evictions,
            rejected=self._kept.rejected,
        )

    async def settled(self) -> None:
        """Return when all that goes on behind the answers so far is done."""
        await self._fills.settled()
        await self._kept.settled()

    async def aclose(self) -> None:
        """Stop what goes on behind the answers; bodies that are still coming in break off."""
        await self._fills.aclose()
        await self._kept.aclose()

    def hit(
        self,
        extension_id: str,
        content_hash: str,
        path: str,
        tenant_id: str | None,
        if_none_match: str | None = None,
        range: str | None = None,
        accept_encoding: str | None = None,
        *,
        if_range: str | None = None,
    ) -> CachedAnswer | None:
        """The answer, if it is here and this caller may have it; without waiting.

        For a HEAD leave `range` out, and drop the body. A request with If-Match or
        If-Unmodified-Since, or with If-Modified-Since alone, belongs to `fetch`.

        Args:
            content_hash: in lower case.
            path: as the client wrote it; only the usual spelling hits, `fetch` knows them all.
        """
        key = (content_hash, path)
        entry = self._kept.hit(key, (extension_id, tenant_id))
        if entry is None:
            return None
        fields = RequestFields(if_none_match, range, if_range, accept_encoding)
        return self._kept.answer(key, entry, fields)

    def again(
        self,
        extension_id: str,
        content_hash: str,
        path: str,
        tenant_id: str | None,
        answer: CachedAnswer,
    ) -> Callable[[], bytes | memoryview | None] | None:
        """The body of the hit that was given just now, for whoever asks at any later time; None
        once that hit would not be given again. None at once for a hit that is made for each.

        Each body counts as a hit, and is not kept in memory by this.
        """
        return self._kept.again((content_hash, path), (extension_id, tenant_id), answer)

    async def fetch(
        self, request: AssetRequest, tenant_key: str | None, backend_fetch: BackendFetch
    ) -> AssetResponse:
        """Answer as `RunnerBackend.fetch_asset` does, from here when that is allowed.

        Args:
            tenant_key: for whom; the runner's leave counts for this tenant alone.
            backend_fetch: asks the runner of the generation that the request has leased.

        Raises:
            BackendError: what `backend_fetch` raises.
        """
        question = Question.of(request) if self.is_on else None
        if question is None:
            return await backend_fetch(request)
        lookup = Lookup.begin(request, question, tenant_key, self._kept.epoch, backend_fetch)
        answer = self._look(lookup)
        if answer is not None:
            return answer
        self._misses += 1
        return await self._miss(lookup)

    async def _miss(self, lookup: Lookup) -> AssetResponse:
        """Ask the runner, or wait for somebody who is asking it the same."""
        while True:
            entry = await self._kept.find(lookup.question.key, has_room=self._fills.has_room)
            if entry is None and not lookup.question.wants_all:
                return await self._relay(lookup)
            topic = (lookup.question.key, None if entry is None else lookup.caller)
            flight = self._flights.get(topic)
            if flight is None:
                return await self._lead(lookup, self._open(topic), entry)
            outcome = await flight.outcome(within_s=lookup.patience_s)
            if outcome is Outcome.NOT_KEPT:
                return await lookup.ask()
            answer = self._look(lookup)
            if answer is not None:
                return answer
            # It is kept, but this caller has to be asked about; or whoever asked has left.

    async def _lead(self, lookup: Lookup, flight: Flight, entry: Entry | None) -> AssetResponse:
        """Ask the runner, also for everyone who waits for this flight."""
        try:
            if entry is not None:
                return await self._revalidate(lookup, flight, entry)
            response = await lookup.ask(asking_for_bytes(lookup.request))
            return self._take_in(lookup, flight, response)
        except asyncio.CancelledError:
            flight.settle(Outcome.ABANDONED)
            raise
        except BaseException:
            flight.settle(Outcome.NOT_KEPT)
            raise

    async def _relay(self, lookup: Lookup) -> AssetResponse:
        """Pass on what is no question for all bytes; the answer may bring them nevertheless."""
        if not lookup.question.may_bring_all:
            return await lookup.ask()
        response = await lookup.ask(asking_for_bytes(lookup.request))
        topic = (lookup.question.key, None)
        if topic in self._flights:
            return response
        return self._take_in(lookup, self._open(topic), response)

    async def _revalidate(self, lookup: Lookup, flight: Flight, entry: Entry) -> AssetResponse:
        """Is it still this file, and may this caller see it? Then answer from here."""
        question = lookup.question
        response = await lookup.ask(
            asking_whether(lookup.request, entry.etag),
            method="GET" if question.wants_all else "HEAD",
        )
        etag = dict(response.headers).get("etag")
        if response.status == 304:
            same = etag is None or etag.removeprefix("W/") == entry.etag
        elif question.wants_all:
            return self._take_in(lookup, flight, response)  # all of another file, or a refusal
        else:
            same = response.status == 200 and etag == entry.etag
        if not isinstance(response.body, bytes):
            await response.body.aclose()
        if not same:
            self._kept.memory.forget(question.key)
            flight.settle(Outcome.NOT_KEPT)
            return await lookup.ask()
        self._kept.allow(
            question.key, lookup.caller, entry, at=self._kept.now(), epoch=lookup.epoch
        )
        flight.settle(Outcome.KEPT)
        return self._answer(question, entry)

    def _take_in(self, lookup: Lookup, flight: Flight, response: AssetResponse) -> AssetResponse:
        """Pass an answer on, and keep its bytes on the way if they may be kept."""
        claim = Claim.of(response, largest=self._kept.memory.largest_bytes)
        if claim is None:
            flight.settle(Outcome.NOT_KEPT)
            return response
        key, answered_at = lookup.question.key, self._kept.now()

        def keep(content: bytes, sha256: str) -> Entry | None:
            entry = self._kept.keep(key, claim, content, sha256)
            if entry is not None:
                self._kept.allow(key, lookup.caller, entry, at=answered_at, epoch=lookup.epoch)
            return entry

        body = self._fills.begin(response, claim, flight, keep)
        return replace(response, headers=claim.headers_of(response), body=body)

    def _look(self, lookup: Lookup) -> AssetResponse | None:
        entry = self._kept.hit(lookup.question.key, lookup.caller)
        return None if entry is None else self._answer(lookup.question, entry)

    def _answer(self, question: Question, entry: Entry) -> AssetResponse:
        answer = self._kept.answer(question.key, entry, question.fields)
        body = b"" if question.head else sliced(answer.body, entry)
        return AssetResponse(status=answer.status, headers=answer.headers, body=body)

    def _open(self, topic: _Topic) -> Flight:
        def close() -> None:
            del self._flights[topic]

        flight = self._flights[topic] = Flight(on_settled=close)
        return flight
