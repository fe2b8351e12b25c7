"""What makes an open page reload by itself while its extension is being written.

Switched on by `EXT_UI_RELOAD` alone. A page then carries one script of ours, from its own
origin, as the usual policies of pages allow; it listens for the extension's next install and
goes to the same place in it. Switched off, no answer differs by a byte.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from backends.contract import AssetRequest, AssetResponse
from backends.upstream.bodies import content_length, read_whole
from gateway.http.event_streams import HEARTBEAT_S
from gateway.installs.contract import ExtensionNotInstalled, Install, RegistryUnavailable

FOLDER: Final = "ext-ui-reload"
"""Beside `ext-ui`, so that whatever leads to pages leads here too."""
SCRIPT: Final = "page.js"

LARGEST_PAGE_BYTES: Final = 4 * 1024 * 1024
LOOK_S: Final = 0.3
MAX_WATCHERS: Final = 64
"""Pages that wait for their extension's next install."""

_NOT_OF_THIS_PAGE: Final = frozenset({
    "content-length", "etag", "last-modified", "accept-ranges", "content-digest", "repr-digest",
})  # fmt: skip
_ASKS_FOR_LESS: Final = frozenset({
    "accept-encoding", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since",
    "range", "if-range",
})  # fmt: skip
# In the head, where no <base> has moved it yet. Not before the doctype, which would be none then.
_HEAD: Final = re.compile(rb"<head(?:\s[^>]*)?>", re.IGNORECASE)


def asking_for_all(request: AssetRequest) -> AssetRequest:
    """The same question, to be answered by the whole page, as it was written."""
    kept = tuple(pair for pair in request.headers if pair[0] not in _ASKS_FOR_LESS)
    return replace(request, headers=kept)


async def with_script(response: AssetResponse, path: str, *, head: bool) -> AssetResponse:
    """A page with our script in it; whatever is no whole page, or is too large, as it was.

    Args:
        path: the page's own, below its bundle, as the browser wrote it.
        head: the answer has no body; then its length is that of the page with the script.

    Raises:
        BackendError: the body broke off.
    """
    fields = dict(response.headers)
    length = content_length(response.headers)
    if (
        response.status != 200
        or not fields.get("content-type", "").startswith("text/html")
        or fields.get("content-encoding", "identity") != "identity"
        or length is None
        or length > LARGEST_PAGE_BYTES
    ):
        return response
    # Relative, as only the browser knows what path a proxy gave this page.
    up = "../" * (path.count("/") + 3)
    script = f'<script src="{up}{FOLDER}/{SCRIPT}"></script>'.encode()
    body = response.body
    if not head:
        page = body if isinstance(body, bytes) else await read_whole(body, max_bytes=length)
        found = _HEAD.search(page)
        at = len(page) if found is None else found.end()
        body = page[:at] + script + page[at:]
    kept = tuple(pair for pair in response.headers if pair[0] not in _NOT_OF_THIS_PAGE)
    total = str(length + len(script))
    return replace(response, headers=(*kept, ("content-length", total)), body=body)


async def next_install(
    current: Callable[[], Awaitable[Install]], shown: str, stopped: Callable[[], bool]
) -> AsyncGenerator[Install | None, None]:
    """The install as soon as its bundle is not `shown`, and that is all.

    Yields None at first, and whenever it is time for a sign of life. Ends early once `stopped`.

    Args:
        current: says what is installed now; while nothing is, or nobody knows, it is asked again.
        shown: the content hash of the page that waits.
    """
    spoke = -math.inf
    while not stopped():
        with suppress(ExtensionNotInstalled, RegistryUnavailable):
            if (now := await current()).content_hash != shown:
                yield now
                return
        if time.monotonic() - spoke >= HEARTBEAT_S:
            yield None
            spoke = time.monotonic()
        await asyncio.sleep(LOOK_S)
