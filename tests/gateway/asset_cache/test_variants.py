"""Which codings a client takes, and that what it gets is what it would have got."""

import gzip
import os
from importlib.util import find_spec

import pytest
import zstandard

from gateway.asset_cache.variants import CODINGS, acceptable, compressed, is_compressible

TEXT = b"export const a = 1;\n" * 500


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, ()),
        ("", ()),
        ("identity", ()),
        ("gzip", ("gzip",)),
        ("GZIP", ("gzip",)),
        ("gzip;q=0", ()),
        ("gzip;q=0.000", ()),
        ("gzip;q=2", ()),
        ("gzip;level=9", ()),
        ("gzip;q=0.1, zstd;q=1.0", ("zstd", "gzip")),
        ("gzip, identity;q=0", ("gzip",)),
        ("gzip;q=0.5, identity;q=0.8", ()),
        ("*;q=0.5, gzip;q=0, br;q=0", ("zstd",)),
        ("compress, x-gzip", ()),
        (", ,;q=1,gzip", ("gzip",)),
        ("gzip" + "," * 300, ()),
    ],
)
def test_the_codings_that_a_client_takes(field: str | None, expected: tuple[str, ...]) -> None:
    assert acceptable(field) == expected


def test_a_browser_gets_the_smallest() -> None:
    assert acceptable("gzip, deflate, br, zstd") == tuple(CODINGS)
    assert list(CODINGS)[-2:] == ["zstd", "gzip"]


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_small_enough_is_made_and_what_is_not_is_not(coding: str) -> None:
    made = compressed(coding, TEXT)
    assert made is not None
    assert len(made) < len(TEXT)
    assert made == compressed(coding, TEXT), "one tag, one form"
    assert compressed(coding, os.urandom(4096)) is None


def test_every_form_can_be_undone() -> None:
    assert gzip.decompress(CODINGS["gzip"](TEXT)) == TEXT
    assert zstandard.decompress(CODINGS["zstd"](TEXT)) == TEXT
    assert ("br" in CODINGS) == (find_spec("brotli") is not None)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/javascript", True),
        ("TEXT/CSS; charset=utf-8", True),
        ("application/json", True),
        ("application/manifest+json", True),
        ("application/wasm", True),
        ("image/svg+xml", True),
        ("font/woff2", False),
        ("image/png", False),
        ("video/mp4", False),
        ("application/octet-stream", False),
        ("", False),
    ],
)
def test_the_types_that_gain(content_type: str, expected: bool) -> None:
    assert is_compressible(content_type, 1024) is expected
    assert not is_compressible(content_type, 1023)
