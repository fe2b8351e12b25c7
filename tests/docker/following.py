"""A reader of a gateway's log stream that keeps what the runner's containers have written."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

_SOON_S: Final = 60.0


class Followed:
    """The runner's lines so far, each as (instant, text).

    A line that was told twice is here twice.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._news = asyncio.Condition()

    async def has_told_of(self, request_id: str) -> None:
        """Wait until the runner's log has named a request."""
        async with asyncio.timeout(_SOON_S), self._news:
            await self._news.wait_for(lambda: any(request_id in text for _, text in self.lines))

    async def read(self, answer: aiohttp.ClientResponse) -> None:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line.removeprefix(b"data: "))
            if event["source"] == "runner":
                async with self._news:
                    self.lines.append((event["ts"], event["text"]))
                    self._news.notify_all()


@asynccontextmanager
async def following(client: aiohttp.ClientSession) -> AsyncIterator[Followed]:
    """Read `GET /gateway/v1/logs` from the end of the log on, for as long as the context lasts."""
    followed = Followed()
    endless = aiohttp.ClientTimeout(total=None)
    async with client.get("/gateway/v1/logs?tail=0", timeout=endless) as answer:
        assert answer.status == 200
        reading = asyncio.create_task(followed.read(answer))
        try:
            yield followed
        finally:
            reading.cancel()
            await asyncio.wait([reading])
