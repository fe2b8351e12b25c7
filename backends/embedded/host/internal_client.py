"""One exchange with the host application: bounded, nothing followed, nothing remembered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from backends.bounded_body import BodyTooLarge, read_at_most


class ExchangeFailed(Exception):
    """No complete answer within the bounds."""


@dataclass(frozen=True, slots=True)
class InternalAnswer:
    status: int
    body: bytes = field(repr=False)


class InternalClient:
    """Talks to the host application. Must be created on the event loop that it will run on.

    Redirects are not followed, since they would carry credentials to wherever they point,
    and no connection is reused, so aiohttp never sends a request twice by itself.
    """

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def exchange(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        max_bytes: int,
    ) -> InternalAnswer:
        """Send and read the whole answer, `max_bytes` at most. The caller bounds its time.

        Raises:
            ExchangeFailed: whatever the cause.
        """
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response:
                return InternalAnswer(response.status, await read_at_most(response, max_bytes))
        except (aiohttp.ClientError, BodyTooLarge, OSError, ValueError, RuntimeError) as error:
            # ValueError: a header that cannot be sent; RuntimeError: the session is closed.
            raise ExchangeFailed from error

    async def aclose(self) -> None:
        """Close the connections; exchanges still running fail."""
        await self._session.close()
