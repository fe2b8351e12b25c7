"""An identity provider's keys over HTTP: fetched beside the traffic, never by a request.

They are fetched at start, then every few minutes, and soon after a token names a key that is
not known, which is how a provider's new key shows itself. One fetch runs at a time, and
strangers who make key ids up cannot cause more than one every few seconds.
"""

import asyncio
import time
from dataclasses import dataclass

import aiohttp
import structlog

from backends.bounded_body import BodyTooLarge, read_at_most
from middleware.errors import IdentityUnavailable
from middleware.jwt_keys import KnownKeys, NoUsableKey, read_keys
from middleware.jwt_tokens import SigningKey

_log = structlog.get_logger("caller_keys")

MAX_ANSWER_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchTimes:
    """When to ask, and for how long to believe the answer; in seconds."""

    total_s: float = 5.0  # one fetch
    connect_s: float = 2.0
    every_s: float = 300.0
    after_failure_s: float = 5.0
    apart_s: float = 10.0  # between fetches that tokens cause
    trusted_s: float = 24 * 3600.0  # a key may have been withdrawn while nobody answered


DEFAULT_TIMES = FetchTimes()


class KeysNotFetched(Exception):
    """No keys came; the reason is one word for logs and receipts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def fetch_keys(url: str, times: FetchTimes = DEFAULT_TIMES) -> KnownKeys:
    """Ask once. Redirects are not followed: keys come from where the operator said.

    Raises:
        KeysNotFetched: no answer in time, not a 200, too long, or no usable key in it.
    """
    timeout = aiohttp.ClientTimeout(total=times.total_s, connect=times.connect_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as said,
        ):
            if said.status != 200:
                raise KeysNotFetched(f"answered_{said.status}")
            content = await read_at_most(said, MAX_ANSWER_BYTES)
    except BodyTooLarge:
        raise KeysNotFetched("answer_too_long") from None
    except TimeoutError:
        raise KeysNotFetched("no_answer_in_time") from None
    except (aiohttp.ClientError, OSError):
        raise KeysNotFetched("unreachable") from None
    try:
        return read_keys(content, shared_secrets=False)
    except NoUsableKey:
        raise KeysNotFetched("no_usable_key") from None


class FetchedKeys:
    """The keys at `url`, kept current by a task of its own between `start` and `aclose`."""

    def __init__(self, url: str, times: FetchTimes = DEFAULT_TIMES) -> None:
        self.url = url
        self._times = times
        self._known: KnownKeys | None = None
        self._fetched_at = self._asked_at = -float("inf")
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def version(self) -> object:
        """See Keys.version. Keys that are too old to be trusted count as none."""
        return self._trusted()

    def find(self, kid: str | None, /) -> SigningKey | None:
        """See Keys.find. A key that is not known makes the next fetch come soon."""
        known = self._trusted()
        key = None if known is None else known.find(kid)
        if key is None and (known is None or self._may_ask()):
            self._wanted.set()
            raise IdentityUnavailable(1, "keys_being_fetched")
        return key

    async def start(self) -> None:
        """Fetch, and keep fetching.

        Raises:
            KeysNotFetched: the first fetch brought nothing; the next ones follow all the same.
        """
        try:
            await self._fetch()
        finally:
            self._task = asyncio.create_task(self._forever(), name="caller-keys")

    async def aclose(self) -> None:
        """Stop fetching. What is known stays known."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _trusted(self) -> KnownKeys | None:
        is_fresh = time.monotonic() - self._fetched_at < self._times.trusted_s
        return self._known if is_fresh else None

    def _may_ask(self) -> bool:
        return time.monotonic() - self._asked_at >= self._times.apart_s

    async def _forever(self) -> None:
        pause_s = self._times.every_s if self._known else self._times.after_failure_s
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            pause_s = await self._fetch_or_complain()

    async def _fetch_or_complain(self) -> float:
        """Seconds until the next fetch is due."""
        try:
            await self._fetch()
        except KeysNotFetched as why:
            self._wanted.clear()
            _log.warning("caller_keys_unavailable", reason=why.reason, kept=self._known is not None)
            # Whoever waits for a key must not make this a loop without a pause.
            await asyncio.sleep(self._times.after_failure_s)
            return self._times.after_failure_s
        return self._times.every_s

    async def _fetch(self) -> None:
        self._asked_at = time.monotonic()
        fetched = await fetch_keys(self.url, self._times)
        self._wanted.clear()  # whoever asked meanwhile waited for this very answer
        self._fetched_at = time.monotonic()
        if fetched != self._known:  # equal keys leave what was verified with them valid
            self._known = fetched
            _log.info("caller_keys_fetched", count=len(fetched.keys))
