"""UI files over the runner protocol: the request target, and what each answer means."""

import re
from typing import Final
from urllib.parse import quote

from backends.asset_path import parse_asset_path
from backends.contract import AssetRequest, AssetResponse, Pairs
from backends.errors import AssetNotFound, AssetPathRefused, Phase
from backends.header_policy import asset_from_runner
from backends.redirects import rewrite_location
from backends.upstream.address import RunnerAddress
from backends.upstream.bodies import content_length, discard, read_whole
from backends.upstream.statuses import refusal
from backends.upstream.transport import UpstreamResponse

SMALL_BYTES: Final = 64 * 1024
"""A body of no more than this is taken in whole: cheaper than streaming it."""

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
    parse_asset_path(request.path)
    if not _VISIBLE_PATH.fullmatch(request.path) or not _VISIBLE_QUERY.fullmatch(request.query):
        raise AssetPathRefused("not_visible_ascii")
    extension = quote(request.extension_id, safe="")
    content_hash = quote(request.content_hash, safe="")
    target = f"{address.base_path}/ext-ui/{extension}/{content_hash}/{request.path}"
    return f"{target}?{request.query}" if request.query else target


async def asset_response(
    response: UpstreamResponse,
    request: AssetRequest,
    *,
    target: str,
    address: RunnerAddress,
    public_base: str,
) -> AssetResponse:
    """Turn a runner's answer into one to pass on; every other kind is raised.

    Raises:
        AssetNotFound, AssetPathRefused: the runner's 404 and 400.
        BackendError: every other status, a redirect off the runner, a body that broke off.
    """
    status = response.status
    headers = asset_from_runner(response.headers)
    if status in (200, 206) and request.method != "HEAD":
        length = content_length(response.headers)
        if length is None or length > SMALL_BYTES:
            return AssetResponse(status=status, headers=headers, body=response.body)
        whole = await read_whole(response.body, max_bytes=SMALL_BYTES)
        return AssetResponse(status=status, headers=headers, body=whole)
    await discard(response.body)
    match status:
        case 200 | 206 | 304:
            return AssetResponse(status=status, headers=headers)
        case 416:  # its body was the runner's own text
            return AssetResponse(status=416, headers=_without(headers, _BODY_FIELDS))
        case 301 | 302 | 303 | 307 | 308:
            location = rewrite_location(
                _field(response.headers, "location"),
                runner_url=address.url,
                target=target,
                public_base=public_base,
                query=request.query,
            )
            return AssetResponse(status=status, headers=(("location", location),))
        case 404:
            raise AssetNotFound
        case 400:
            raise AssetPathRefused("runner_refused_path", phase=Phase.FIRST_BYTE)
        case _:
            raise refusal(status, response.headers)


def _field(headers: Pairs, name: str) -> str:
    return next((value for known, value in headers if known == name), "")


def _without(headers: Pairs, names: frozenset[str]) -> Pairs:
    return tuple((name, value) for name, value in headers if name not in names)
