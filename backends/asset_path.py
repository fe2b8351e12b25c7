"""Which paths of an extension's UI may be asked for, and what kind of file each one is.

Pure, and the same for every backend: a path is decoded exactly once, here, and whatever
could mean something else to a later reader is refused instead of mended.
"""

import re
import unicodedata
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote, unquote, unquote_to_bytes

from backends.errors import AssetPathRefused

MAX_PATH_BYTES = 1024  # decoded
MAX_SEGMENT_BYTES = 255  # what common file systems can name

OCTETS = "application/octet-stream"
HTML = "text/html; charset=utf-8"

MEDIA_TYPES = MappingProxyType(
    {
        "html": HTML, "js": "text/javascript", "mjs": "text/javascript", "css": "text/css",
        "json": "application/json", "map": "application/json", "wasm": "application/wasm",
        "webmanifest": "application/manifest+json",
        "txt": "text/plain; charset=utf-8", "md": "text/markdown; charset=utf-8",
        "csv": "text/csv; charset=utf-8", "vtt": "text/vtt", "xml": "application/xml",
        "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg",
        "gif": "image/gif", "webp": "image/webp", "avif": "image/avif",
        "ico": "image/vnd.microsoft.icon",
        "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf",
        "eot": "application/vnd.ms-fontobject",
        "mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav",
        "mp4": "video/mp4", "webm": "video/webm", "pdf": "application/pdf",
    }
)  # fmt: skip
"""File name extension, in lower case, to Content-Type. Also the list of what is served."""

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HIDDEN_SEPARATOR = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AssetPath:
    """A path that is safe to join to a bundle's UI folder.

    No segment is empty, hidden, or holds a separator or control character; no segments at
    all is the root.
    """

    segments: tuple[str, ...]

    @property
    def relative(self) -> str:
        """The segments joined by "/", without a leading slash."""
        return "/".join(self.segments)

    @property
    def quoted(self) -> str:
        """The one percent-encoded spelling of this path."""
        return quote(self.relative)

    @property
    def names_a_file(self) -> bool:
        """Whether it can only mean a file, so that its absence is an error and not a route."""
        return bool(self.segments) and "." in self.segments[-1]

    @property
    def content_type(self) -> str:
        """The Content-Type of a file of this name."""
        return MEDIA_TYPES.get(_extension(self.segments[-1]) if self.segments else "", OCTETS)


INDEX = AssetPath(("index.html",))
"""The page of an extension: what the root and every route of its own router answer."""


def parse_asset_path(path: str) -> AssetPath:
    """Decide whether a path may be asked for.

    A last segment with a dot names a file and needs a known extension, so a route such as
    "/users/jane.doe" is refused: the runner protocol's rule, which keeps every backend
    answering alike. Dots in earlier segments are fine.

    Args:
        path: percent-encoded, as the client wrote it, without a leading slash.

    Returns:
        The decoded path; repeated and trailing slashes are dropped.

    Raises:
        AssetPathRefused: its reason says which rule is broken.

    >>> parse_asset_path("js//app%20one.js")
    AssetPath(segments=('js', 'app one.js'))
    >>> parse_asset_path("js/%2e%2e/secret.js")
    Traceback (most recent call last):
    ...
    backends.errors.AssetPathRefused: dot_segment (admit)
    """
    decoded = _decode(path)
    if decoded.startswith("/"):
        raise AssetPathRefused("absolute_path")
    segments = tuple(segment for segment in decoded.split("/") if segment)
    for segment in segments:
        if segment in {".", ".."}:
            raise AssetPathRefused("dot_segment")
        if segment.startswith("."):
            raise AssetPathRefused("hidden_segment")
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise AssetPathRefused("path_too_long")
    if segments and "." in segments[-1] and _extension(segments[-1]) not in MEDIA_TYPES:
        raise AssetPathRefused("unknown_extension")
    return AssetPath(segments)


def may_be_page(path: str) -> bool:
    """Whether a path below a bundle can be answered by HTML: a page, or a route of its own.

    >>> [may_be_page(path) for path in ("index.html", "a/Page.%48TM", "settings/", "app.js")]
    [True, True, True, False]
    """
    name = unquote(path.rpartition("/")[2])
    return "." not in name or name.lower().endswith((".html", ".htm"))


def _decode(path: str) -> str:
    if _BROKEN_ESCAPE.search(path):
        raise AssetPathRefused("broken_escape")
    if _HIDDEN_SEPARATOR.search(path):
        raise AssetPathRefused("encoded_separator")
    try:
        # Whatever came as raw bytes arrives as surrogates, which are not UTF-8 either.
        decoded = unquote_to_bytes(path.encode()).decode()
    except UnicodeError:
        raise AssetPathRefused("not_utf8") from None
    if len(decoded.encode()) > MAX_PATH_BYTES:
        raise AssetPathRefused("path_too_long")
    if "\\" in decoded:
        raise AssetPathRefused("backslash")
    if any(unicodedata.category(character) == "Cc" for character in decoded):
        raise AssetPathRefused("control_character")
    return decoded


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""
