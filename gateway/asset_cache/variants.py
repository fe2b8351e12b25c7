"""Compressed forms of a file: which a client may be given, and how they are made.

Pure. Each form is a representation of its own with a strong entity tag of its own
(RFC 9110 section 8.8.3.3), which is the file's with the coding's name at its end.
"""

import gzip
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from types import MappingProxyType
from typing import Final

import zstandard

MIN_BYTES: Final = 1024
"""Less than this fits into the first packets anyway."""

_WORTH: Final = 0.95  # a variant that is not this much smaller is not made
_LONGEST_FIELD: Final = 256  # a browser's is 30; every distinct one is remembered
_COMPRESSIBLE: Final = re.compile(
    r"text/.*|application/(?:.+\+)?(?:javascript|json|xml|wasm)|application/vnd\.ms-fontobject"
    r"|font/(?:otf|ttf)|image/(?:svg\+xml|vnd\.microsoft\.icon)"
)
_QUALITY: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=12).compress(content)


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _codings() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    with suppress(ImportError):  # an optional extra; the other two are always there
        brotli = import_module("brotli")
        # Level 11 gains 5 % more and takes seconds for a megabyte.
        yield "br", lambda content: bytes(brotli.compress(content, quality=9))
    yield "zstd", _zstd
    yield "gzip", _gzip


CODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(dict(_codings()))
"""Content coding -> its compressor; the smallest result first."""


def is_compressible(content_type: str, size: int) -> bool:
    """Whether a file of this type and size gains from compression.

    >>> is_compressible("text/css; charset=utf-8", 1024), is_compressible("image/png", 4096)
    (True, False)
    """
    media_type = content_type.partition(";")[0].strip().lower()
    return size >= MIN_BYTES and _COMPRESSIBLE.fullmatch(media_type) is not None


def variant_etag(etag: str, coding: str) -> str:
    """The tag of a compressed form.

    >>> variant_etag('"sha256-ab"', "zstd")
    '"sha256-ab-zstd"'
    """
    return f'{etag[:-1]}-{coding}"'


@lru_cache(maxsize=256)
def acceptable(accept_encoding: str | None) -> tuple[str, ...]:
    """The codings that a client takes and does not like less than the plain bytes.

    Most preferred first; equal ones in the order of CODINGS. An overlong field means none.

    Source:
        RFC 9110 section 12.5.3.

    >>> acceptable("gzip, zstd;q=0.5, br;q=0"), acceptable("identity, gzip;q=0.5")
    (('gzip', 'zstd'), ())
    """
    if not accept_encoding or len(accept_encoding) > _LONGEST_FIELD:
        return ()
    liked: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        quality = _QUALITY.fullmatch(parameter.strip())
        if not parameter.strip() or quality is not None:
            liked[coding.strip()] = 1.0 if quality is None else float(quality[1])
    others = liked.get("*", 0.0)
    least = liked.get("identity", 0.0)
    wanted = {coding: liked.get(coding, others) for coding in CODINGS}
    chosen = [coding for coding, quality in wanted.items() if quality > 0 and quality >= least]
    return tuple(sorted(chosen, key=lambda coding: -wanted[coding]))


def compressed(coding: str, content: bytes) -> bytes | None:
    """The bytes in this coding; None when they are hardly fewer. Takes a while: for threads."""
    made = CODINGS[coding](content)
    return made if len(made) <= len(content) * _WORTH else None
