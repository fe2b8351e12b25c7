"""UI files over the runner protocol: the request target, and what each answer means."""

import asyncio
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from backends.asset_path import parse_asset_path
from backends.contract import AssetRequest, AssetResponse, ByteStream, Pairs
from backends.errors import AssetNotFound, AssetPathRefused, Phase, RunnerTimeout
from backends.header_policy import asset_from_runner
from backends.redirects import rewrite_location
from backends.upstream.address import RunnerAddress
from backends.upstream.bodies import (
    SMALL_BYTES,
    WholeBody,
    content_length,
    read_short,
    read_whole,
)
from backends.upstream.statuses import refusal
from backends.upstream.transport import UpstreamResponse

_MEMORABLE: Final = 512  # characters
_BODY_FIELDS: Final = frozenset({"content-length", "content-type", "content-encoding"})
_VISIBLE_PATH = re.compile(r"[!\"$->@-~]*")  # visible ASCII without "#" and "?"
_VISIBLE_QUERY = re.compile(r"[!\"$-~]*")  # visible ASCII without "#"


def asset_target(address: RunnerAddress, request: AssetRequest) -> str:
    """The request target of one UI file, the client's own bytes at its end.

    They are joined and never parsed as a URL: what was allowed is what goes out.

    Raises:
        AssetPathRefused: the path breaks the rules of backends.asset_path, or path or query
            hold something that a request target cannot (RFC 3986 section 2).
    """
    path, query = request.path, request.query
    spell = _known_target if len(path) + len(query) <= _MEMORABLE else _target
    return spell(address.base_path, request.extension_id, request.content_hash, path, query)


def _target(base_path: str, extension_id: str, content_hash: str, path: str, query: str) -> str:
    parse_asset_path(path)
    if not _VISIBLE_PATH.fullmatch(path) or not _VISIBLE_QUERY.fullmatch(query):
        raise AssetPathRefused("not_visible_ascii")
    extension = quote(extension_id, safe="")
    target = f"{base_path}/ext-ui/{extension}/{quote(content_hash, safe='')}/{path}"
    return f"{target}?{query}" if query else target


# A page asks for the same few files again and again. Refusals are not remembered.
_known_target = lru_cache(maxsize=1024)(_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSite:
    """Where a runner's files are, for this program and for browsers."""

    address: RunnerAddress
    public_base: str


async def asset_response(
    response: UpstreamResponse, request: AssetRequest, site: RunnerSite, *, first_byte_by: float
) -> AssetResponse:
    """Turn a runner's answer into one to pass on; every other kind is raised.

    Args:
        first_byte_by: when the client must hear of it, in time.monotonic(). A small file is
            collected first, so its last byte is due then.

    Raises:
        RunnerTimeout: that instant is over.
        AssetNotFound, AssetPathRefused: the runner's 404 and 400.
        BackendError: every other status, a redirect off the runner, a body that broke off.
    """
    ready = ready_response(response, request, site)
    if ready is not None:
        return ready
    if _is_content(response, request):
        whole = await _collected(response.body, first_byte_by)
        return AssetResponse(
            status=response.status, headers=asset_from_runner(response.headers), body=whole
        )
    return _without_content(response, request, site, await read_short(response.body))


async def _collected(body: ByteStream, by: float) -> bytes:
    try:
        async with asyncio.timeout(max(0.0, by - time.monotonic())):
            return await read_whole(body, max_bytes=SMALL_BYTES)
    except TimeoutError:
        raise RunnerTimeout(phase=Phase.TOTAL) from None


def ready_response(
    response: UpstreamResponse, request: AssetRequest, site: RunnerSite
) -> AssetResponse | None:
    """What `asset_response` returns or raises; None when it has to wait for that."""
    body = response.body
    if not _is_content(response, request):
        if not isinstance(body, WholeBody):
            return None
        return _without_content(response, request, site, body.take())
    if isinstance(body, WholeBody):
        ready: bytes | ByteStream = body.take() if body.size <= SMALL_BYTES else body
    else:
        length = content_length(response.headers)
        if length is not None and length <= SMALL_BYTES:
            return None
        ready = body
    headers = asset_from_runner(response.headers)
    return AssetResponse(status=response.status, headers=headers, body=ready)


def _is_content(response: UpstreamResponse, request: AssetRequest) -> bool:
    return response.status in (200, 206) and request.method != "HEAD"


def _without_content(
    response: UpstreamResponse, request: AssetRequest, site: RunnerSite, body: bytes
) -> AssetResponse:
    """The answer whose body nobody may see; of a failure it may name the cause."""
    status, headers = response.status, asset_from_runner(response.headers)
    match status:
        case 200 | 206 | 304:
            return AssetResponse(status=status, headers=headers)
        case 416:  # its body was the runner's own text
            return AssetResponse(status=416, headers=_without(headers, _BODY_FIELDS))
        case 301 | 302 | 303 | 307 | 308:
            location = rewrite_location(
                _field(response.headers, "location"),
                runner_url=site.address.url,
                target=asset_target(site.address, request),
                public_base=site.public_base,
                query=request.query,
            )
            return AssetResponse(status=status, headers=(("location", location),))
        case 404:
            raise AssetNotFound
        case 400:
            raise AssetPathRefused("runner_refused_path", phase=Phase.FIRST_BYTE)
        case _:
            raise refusal(status, response.headers, body)


def _field(headers: Pairs, name: str) -> str:
    return next((value for known, value in headers if known == name), "")


def _without(headers: Pairs, names: frozenset[str]) -> Pairs:
    return tuple((name, value) for name, value in headers if name not in names)
