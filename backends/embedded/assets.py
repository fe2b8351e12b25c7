"""Serves the UI files of bundles, as the runner protocol's GET /ext-ui does.

Caching is not decided here: that is the same for every backend, so the gateway does it.
"""

import asyncio
import unicodedata
from typing import Self

from backends.asset_path import HTML, AssetPath, parse_asset_path
from backends.bundles.errors import BundleError, BundleNotFound
from backends.bundles.store import BundleStore
from backends.contract import AssetRequest, AssetResponse, Pairs
from backends.embedded.byte_range import ByteRange, RangeNotSatisfiable, parse_range
from backends.embedded.conditional import client_has, range_still_counts
from backends.embedded.ui_file import UiFile, UiFiles
from backends.errors import AssetNotFound, Phase, RunnerProtocolError, RunnerTimeout
from backends.settings import EmbeddedSettings

DEFAULT_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'"
)

# What a browser opens as a document and then lets run scripts.
_DOCUMENTS = frozenset({HTML, "image/svg+xml", "application/xml"})


class AssetFiles:
    """Answers requests for the UI files of every bundle of a store.

    Args:
        content_security_policy: replaces the default policy of documents when not empty.
        frame_ancestors: else appended to the default one: who may frame the page.
        max_asset_bytes: larger files are refused; None for no limit.
    """

    def __init__(
        self,
        store: BundleStore,
        *,
        content_security_policy: str | None,
        frame_ancestors: str | None,
        max_asset_bytes: int | None,
    ) -> None:
        self._files = UiFiles(store, max_asset_bytes=max_asset_bytes)
        self._policy = _policy(content_security_policy, frame_ancestors)

    @classmethod
    def of(cls, store: BundleStore, settings: EmbeddedSettings) -> Self:
        """The files of `store`, as the settings have them served."""
        return cls(
            store,
            content_security_policy=settings.content_security_policy,
            frame_ancestors=settings.frame_ancestors,
            max_asset_bytes=settings.max_asset_bytes,
        )

    async def fetch(self, request: AssetRequest) -> AssetResponse:
        """Answer 200, 206, 304 or 416; a route of the page's own router answers the page.

        Whoever gets a ByteStream must aclose() it.

        Raises:
            AssetPathRefused: the path breaks a rule.
            AssetNotFound: no such bundle, or no such file where only a file can be meant.
            RunnerProtocolError: the bundle is corrupt or refused.
            RunnerRefusedSize: the file is larger than max_asset_bytes.
            RunnerTimeout: the disk took longer than request.timeout_s.
        """
        path = parse_asset_path(request.path)
        file = await self._open(request, path)
        try:
            return self._answer(request, file)
        finally:
            file.close()

    async def _open(self, request: AssetRequest, path: AssetPath) -> UiFile:
        opening = asyncio.get_running_loop().run_in_executor(
            None, self._files.open, request.content_hash, path
        )
        try:
            async with asyncio.timeout(request.timeout_s):
                return await asyncio.shield(opening)
        except TimeoutError:
            opening.add_done_callback(_close_unclaimed)
            raise RunnerTimeout(phase=Phase.FIRST_BYTE, budget_s=request.timeout_s) from None
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unclaimed)
            raise
        except BundleNotFound as error:
            raise AssetNotFound("bundle_not_found") from error
        except BundleError as error:
            raise RunnerProtocolError(error.reason, phase=Phase.ADMIT) from error
        except OSError as error:
            raise RunnerProtocolError("file_unreadable", phase=Phase.ADMIT) from error

    def _answer(self, request: AssetRequest, file: UiFile) -> AssetResponse:
        always: Pairs = (("x-content-type-options", "nosniff"),)
        if file.content_type in _DOCUMENTS:
            always = (*always, ("content-security-policy", self._policy))
        validators: Pairs = (("etag", file.etag), ("accept-ranges", "bytes"), *always)
        if client_has(_field(request, "if-none-match"), file.etag):
            return AssetResponse(status=304, headers=validators)
        try:
            part = _part(request, file)
        except RangeNotSatisfiable:
            sizes = (("content-range", f"bytes */{file.size}"), ("content-length", "0"))
            return AssetResponse(status=416, headers=(*sizes, *validators))
        offset, length = (0, file.size) if part is None else (part.first, part.length)
        headers: Pairs = (
            ("content-type", file.content_type),
            ("content-length", str(length)),
            *validators,
        )
        if part is not None:
            span = f"bytes {part.first}-{part.last}/{file.size}"
            headers = (*headers, ("content-range", span))
        body = b"" if request.method == "HEAD" else file.body(offset, length)
        return AssetResponse(status=200 if part is None else 206, headers=headers, body=body)


def _part(request: AssetRequest, file: UiFile) -> ByteRange | None:
    # Range has no meaning for other methods: RFC 9110 section 14.2.
    if request.method != "GET" or not range_still_counts(_field(request, "if-range"), file.etag):
        return None
    return parse_range(_field(request, "range"), file.size)


def _field(request: AssetRequest, name: str) -> str | None:
    values = [value for field, value in request.headers if field == name]
    return ", ".join(values) if values else None


def _policy(replacement: str | None, frame_ancestors: str | None) -> str:
    """The runner protocol's rule; text that no header field can hold leaves the default."""
    policy = DEFAULT_CONTENT_SECURITY_POLICY
    if replacement and replacement.strip():
        policy = replacement.strip()
    elif frame_ancestors and frame_ancestors.strip():
        policy = f"{policy}; frame-ancestors {frame_ancestors.strip()}"
    printable = not any(unicodedata.category(character) == "Cc" for character in policy)
    return policy if printable and policy.isascii() else DEFAULT_CONTENT_SECURITY_POLICY


def _close_unclaimed(opening: asyncio.Future[UiFile]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
