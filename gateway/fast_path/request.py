"""A request as handlers and policies know it, made from what RequestReader has found."""

import asyncio
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from typing import Any, Protocol, TypeVar

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from multidict import MultiMapping

from backends.contract import ByteStream, Pairs
from gateway.generations.live import Live
from middleware.access_log import FACTS
from middleware.body_limit import WHOLE_BODY
from middleware.carried import FIELDS_MADE
from middleware.request_id import REQUEST_ID, id_after

R = TypeVar("R")
T = TypeVar("T")


class Fields(MultiMapping[str]):
    """Header fields that each came once, asked for by name in any case."""

    __slots__ = ("by_name",)

    def __init__(self, by_name: Mapping[str, str]) -> None:
        self.by_name = by_name

    def get(self, key: str, default: Any = None) -> Any:
        return self.by_name.get(key.lower(), default)

    def getone(self, key: str, *default: Any) -> Any:
        return self.by_name.get(key.lower(), *default) if default else self[key]

    def getall(self, key: str, *default: Any) -> Any:
        value = self.by_name.get(key.lower())
        if value is not None:
            return [value]
        if default:
            return default[0]
        raise KeyError(key)

    def __getitem__(self, key: str) -> str:
        return self.by_name[key.lower()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self.by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def items(self) -> ItemsView[str, str]:
        return self.by_name.items()

    def keys(self) -> KeysView[str]:
        return self.by_name.keys()

    def values(self) -> ValuesView[str]:
        return self.by_name.values()


class Streams(Protocol):
    """Sends answers whose body comes in parts."""

    async def stream(
        self, status: int, headers: Pairs, length: int, body: ByteStream
    ) -> web.StreamResponse:
        """Send the head, and the body as it comes; `length` is all of it."""


class FastRequest(web.Request):
    """A web.Request whose whole body is here already.

    It has what the handlers and policies of this program use; what they do not use (the URL,
    cookies, forms) is not there.

    Attributes:
        fields: names in lower case, each of them once.
        target_made: a cache that requests with the same method and target share; see `of_target`.
        streams: sends an answer that is not whole.
        live: what was committed when it came.
        whole_body: None when the request has no body at all.
        streamed_bytes: of the answer's body, as far as aiohttp's writer has written it.
    """

    def __init__(
        self,
        method: str,
        raw_path: str,
        fields: Mapping[str, str],
        made: dict[Any, Any] | None,
        target_made: dict[Any, Any],
        body: bytes | None,
        protocol: RequestHandler,
        match_info: UrlMappingMatchInfo,
        facts: dict[str, object],
        streams: Streams,
        live: Live,
    ) -> None:
        # Not the parent's: it wants a message of aiohttp's parser.
        self.method = method
        self.raw_path = raw_path
        self.fields = fields
        self.target_made = target_made
        self.whole_body = body
        self.app = match_info._apps[0]
        self.headers = Fields(fields)
        self.streams = streams
        self.live = live
        self.streamed_bytes = 0
        connection = fields.get("connection")
        self.keep_alive = connection is None or connection.lower() != "close"
        self._protocol = protocol
        self._match_info = match_info
        named = id_after(fields.get("x-request-id"))
        self._state: dict[Any, Any] = {FACTS: facts, REQUEST_ID: named}
        if made is not None:
            self._state[FIELDS_MADE] = made
        if body is not None:
            self._state[WHOLE_BODY] = body
        self._cache: dict[str, Any] = {}

    # Plain attributes where the parent computes: they are read more often than set.
    method = ""
    raw_path = ""
    app: web.Application = None  # type: ignore[assignment]  # set for every request
    headers: Fields = None  # type: ignore[assignment]
    version = HttpVersion11
    keep_alive = True
    content = EMPTY_PAYLOAD  # the body has been read

    @property
    def request_id(self) -> str:
        """As `request_id_of` says it."""
        name: str = self._state[REQUEST_ID]
        return name

    @property
    def content_length(self) -> int | None:
        return None if self.whole_body is None else len(self.whole_body)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:  # type: ignore[override]  # read only here
        return self._protocol._loop

    @property
    def _payload_writer(self) -> AbstractStreamWriter:  # type: ignore[override]  # made when asked
        """For answers that aiohttp writes."""
        writer: StreamWriter | None = self._cache.get("writer")
        if writer is None:
            writer = self._cache["writer"] = StreamWriter(self._protocol, self._loop)
            writer.on_body_write = self._count
        return writer

    def let_go(self) -> None:
        """It is over: let go of what points back to it, which only the collector would find."""
        self.streams = None  # type: ignore[assignment]  # nobody asks any more
        if self._cache:
            self._cache.clear()

    def _count(self, size: int, _written: int) -> None:
        self.streamed_bytes += size


def of_fields(request: web.Request, make: Callable[[Iterable[tuple[str, str]]], T]) -> T:
    """What `make` makes of a request's fields; made once for all requests that send them alike.

    Args:
        make: pure: a function of the fields and nothing else.
    """
    made = request._state.get(FIELDS_MADE)  # as `carried`, without the call
    known: T | None = None if made is None else made.get(make)
    return _keep(made, make, request.headers.items()) if known is None else known


def of_target(request: web.Request, make: Callable[[str], T]) -> T:
    """What `make` makes of a request's raw target; made once where the target is remembered.

    Args:
        make: pure: a function of the raw target and nothing else. What it raises is not kept.
    """
    made = request.target_made if isinstance(request, FastRequest) else None
    known: T | None = None if made is None else made.get(make)
    return _keep(made, make, request.raw_path) if known is None else known


def _keep(made: dict[Any, Any] | None, make: Callable[[R], T], given: R) -> T:
    known = make(given)
    if made is not None:
        made[make] = known
    return known
