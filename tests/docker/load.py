"""Clients that call without a pause, and keep account of every answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from tests.docker.stack import HELLO

CLIENTS: Final = 6
_SOON_S: Final = 60.0


class Load:
    """What became of the calls.

    Attributes:
        answers: how many there were, by status, error code ("" for none) and backend.
        refusals_without_retry_after: 503 answers that did not say when to come back.
        phases: how far the calls that failed had come.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[int, str, str]] = Counter()
        self.refusals_without_retry_after = 0
        self.phases: Counter[str] = Counter()
        self._news = asyncio.Condition()
        self._stop = False

    async def see(self, count: int, *, good: bool = True) -> None:
        """Wait until there have been `count` more answers that are 200, or that are not."""
        async with asyncio.timeout(_SOON_S), self._news:
            enough = self._number(good) + count
            await self._news.wait_for(lambda: self._number(good) >= enough)

    def statuses(self) -> set[int]:
        return {status for status, _, _ in self.answers}

    def _number(self, good: bool) -> int:
        return sum(count for key, count in self.answers.items() if (key[0] == 200) is good)

    async def call_on(self, client: aiohttp.ClientSession, headers: Mapping[str, str]) -> None:
        while not self._stop:
            async with client.get(HELLO, headers=headers) as answer:
                document = await answer.json(content_type=None)
            key = answer.status, document.get("error", ""), answer.headers["x-runner-backend"]
            if answer.status == 503 and "retry-after" not in answer.headers:
                self.refusals_without_retry_after += 1
            if answer.status != 200:
                self.phases[document.get("phase", "")] += 1
            async with self._news:
                self.answers[key] += 1
                self._news.notify_all()

    def stop(self) -> None:
        self._stop = True


@asynccontextmanager
async def load(client: aiohttp.ClientSession, headers: Mapping[str, str]) -> AsyncIterator[Load]:
    """Keep CLIENTS calls running for as long as the context lasts."""
    running = Load()
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(running.call_on(client, headers))
        try:
            yield running
        finally:
            running.stop()
