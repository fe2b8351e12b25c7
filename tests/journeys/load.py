"""Clients that call without a pause and keep account of what came of every call."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientSession, TCPConnector

HELLO = "/api/ext/example.hello/hello"


class Load:
    """What became of the calls.

    Attributes:
        answers: by status.
        failures: calls without an answer, by the name of the error.
        generations: of the answers.
    """

    def __init__(self, url: str) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.generations: Counter[int] = Counter()
        self._url = url
        self._enough = asyncio.Event()
        self._news = asyncio.Condition()

    async def more(self, calls: int) -> None:
        """Wait until this many more calls have been answered."""
        wanted = self.answers.total() + calls
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: self.answers.total() >= wanted)

    def stop(self) -> None:
        self._enough.set()

    async def call_on(self, *, keep_alive: bool) -> None:
        """One client, until `stop`."""
        async with ClientSession(connector=TCPConnector(force_close=not keep_alive)) as client:
            while not self._enough.is_set():
                try:
                    async with client.get(self._url + HELLO) as answer:
                        await answer.read()
                except ClientError as failure:
                    self.failures[type(failure).__name__] += 1
                    continue
                self.answers[answer.status] += 1
                self.generations[int(answer.headers["x-runner-generation"])] += 1
                async with self._news:
                    self._news.notify_all()


@asynccontextmanager
async def load_on(url: str, *, clients: int = 8) -> AsyncIterator[Load]:
    """Load for as long as the block runs; every second client opens a connection for each call."""
    load = Load(url)
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(load.call_on(keep_alive=number % 2 == 0))
        try:
            yield load
        finally:
            load.stop()
