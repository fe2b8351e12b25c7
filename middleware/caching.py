"""Who may keep an answer, and for how long: decided here, never relayed.

A runner says `immutable` about everything, failures included. One 404 or one tenant's data
kept by a shared cache for a year cannot be called back, so the default is not to keep.
"""

import re
from enum import Enum
from functools import lru_cache

from aiohttp import hdrs, web

from middleware.carried import carried

_STREAMS = frozenset({"text/event-stream", "application/x-ndjson"})
_IMMUTABLE_STATUSES = frozenset({200, 206, 304})
_QUOTED = re.compile(r'"[^"]*"')
_SAYS_WHO_MAY_KEEP_IT = re.compile(
    r"(?:^|,)\s*(?:private|public|no-store|s-maxage\s*=[^,]*)\s*(?:,|$)", re.IGNORECASE
)


class CacheRule(Enum):
    """What a handler knows about its answer."""

    NO_STORE = "no_store"
    IMMUTABLE = "immutable"  # the address names the content: it can never change
    REVALIDATE = "revalidate"  # may be kept, must be asked about before each use
    AS_ANSWERED = "as_answered"  # the answer's own cache-control, when it has one


CACHE_RULE = web.RequestKey("cache_rule", CacheRule)


def stamp_caching(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """The stamp that sets Cache-Control (RFC 9111 section 5.2.2).

    Errors and redirects are never kept, whatever the rule: the same address may answer
    well a second later. Streams must not be transformed either: a proxy that compresses
    holds events back until its buffer is full.
    """
    headers = response.headers
    if _media_type(response) in _STREAMS:
        headers[hdrs.CACHE_CONTROL] = "no-cache, no-transform"
        headers["X-Accel-Buffering"] = "no"
        return
    rule = carried(request, CACHE_RULE) or CacheRule.NO_STORE
    if response.status >= 300 and response.status != 304:
        rule = CacheRule.NO_STORE
    match rule:
        case CacheRule.IMMUTABLE if response.status in _IMMUTABLE_STATUSES:
            headers[hdrs.CACHE_CONTROL] = "public, max-age=31536000, immutable"
        case CacheRule.REVALIDATE:
            headers[hdrs.CACHE_CONTROL] = "no-cache"
        case CacheRule.AS_ANSWERED:
            headers[hdrs.CACHE_CONTROL] = for_caller(headers.get(hdrs.CACHE_CONTROL, "no-store"))
        case _:
            headers[hdrs.CACHE_CONTROL] = "no-store"


@lru_cache(maxsize=256)  # extensions say the same few things, again and again
def for_caller(said: str) -> str:
    """What a handler said, for its caller alone unless it names those who may keep it.

    All tenants call the same address, and what tells them apart no cache looks at: with
    `max-age` alone one tenant's answer would be the next one's. `private` changes nothing for
    the browser that the author had in mind (RFC 9111 section 5.2.2.7).

    >>> for_caller("max-age=60"), for_caller("public, max-age=60")
    ('private, max-age=60', 'public, max-age=60')
    """
    # What is quoted names fields: private="set-cookie" is about that field alone.
    is_said = _SAYS_WHO_MAY_KEEP_IT.search(_QUOTED.sub("", said))
    return said if is_said else f"private, {said}"


def _media_type(response: web.StreamResponse) -> str:
    return response.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
