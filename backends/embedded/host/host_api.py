"""The host application's internal API: the one way to its data that guests may use."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import orjson
from yarl import URL

from backends.embedded.host.internal_client import ExchangeFailed, InternalClient
from backends.embedded.host.on_loop import Unanswered, run_on_loop
from backends.files.token import token_now
from backends.settings import HostApiSettings

MAX_RESPONSE_BYTES = 1024 * 1024
TIMEOUT_S = 30.0


class HostApiFailed(Exception):
    """No usable answer. The message is a fixed phrase that a guest may read."""


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What the application said; `document` is None when the body is empty or not JSON."""

    status: int
    document: object = field(repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def members(self) -> dict[str, object]:
        """The members of a JSON object; none when the document is anything else."""
        return self.document if isinstance(self.document, dict) else {}


class HostApi:
    """Posts operations of one install to the host application. Belongs to `loop`."""

    def __init__(
        self, settings: HostApiSettings, client: InternalClient, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._base = settings.base_url.rstrip("/")
        self._token = settings.token
        self._client = client
        self._loop = loop

    def ask(
        self, api: str, install_id: str, body: Mapping[str, object], *, timeout_s: float
    ) -> HostAnswer:
        """`post` from a guest's thread.

        Raises:
            HostApiFailed: as `post`; also out of time.
        """
        try:
            return run_on_loop(self._loop, lambda: self.post(api, install_id, body), timeout_s)
        except Unanswered as error:
            raise HostApiFailed("transport failure") from error

    async def post(self, api: str, install_id: str, body: Mapping[str, object]) -> HostAnswer:
        """Send `body` as JSON to `api`, such as "ext-clients", for `install_id`.

        Raises:
            HostApiFailed: no complete answer, or a successful one that is not JSON.
        """
        install = quote(install_id, safe="")
        if install in {".", ".."}:
            raise HostApiFailed("transport failure")  # a path segment that would climb
        url = URL(f"{self._base}/api/internal/{api}/install/{install}", encoded=True)
        headers = {
            "x-runner-auth": token_now(self._token) or "",
            "content-type": "application/json",
        }
        try:
            answer = await self._client.exchange(
                "POST", url, headers=headers, body=orjson.dumps(body), max_bytes=MAX_RESPONSE_BYTES
            )
        except ExchangeFailed as error:
            raise HostApiFailed("transport failure") from error
        return _read(answer.status, answer.body)


def _read(status: int, body: bytes) -> HostAnswer:
    try:
        document = orjson.loads(body) if body.strip() else None
    except orjson.JSONDecodeError:
        if 200 <= status < 300:
            raise HostApiFailed("invalid JSON response") from None
        document = None
    return HostAnswer(status, document)
