"""Which paths may be asked for: nothing ever leaves the folder, and nothing is ambiguous."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asset_path import HTML, INDEX, MEDIA_TYPES, OCTETS, AssetPath, parse_asset_path
from backends.errors import AssetPathRefused

PIECES = st.sampled_from(
    [
        *("a", "js", "app.js", "x.exe", ".git", "~", "?", "#", ":", "\u00e9", "\udc80"),
        *(".", "..", "/", "//", "\\", "%"),
        *("%2e", "%2E%2e", "%2f", "%5c", "%00", "%25", "%252e", "%C3%A9", "%ff"),
    ]
)
PATHS = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40)
NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\."),
    min_size=1,
    max_size=20,
)


@given(PATHS)
def test_no_path_ever_leaves_the_folder(raw: str) -> None:
    try:
        path = parse_asset_path(raw)
    except AssetPathRefused:
        return
    root = Path("/bundle/ui")
    joined = (root / path.relative).resolve()
    assert joined == root or root in joined.parents
    assert all(segment and not segment.startswith(".") for segment in path.segments)
    assert not any(character in path.relative for character in "\\\0\r\n")


@given(PATHS)
def test_deciding_again_on_the_normal_form_decides_the_same(raw: str) -> None:
    try:
        path = parse_asset_path(raw)
    except AssetPathRefused:
        return
    assert parse_asset_path(path.quoted) == path


@given(st.lists(NAMES, max_size=5), st.sampled_from(sorted(MEDIA_TYPES)))
def test_every_plain_name_with_a_known_extension_is_served(
    folders: list[str], extension: str
) -> None:
    wanted = (*folders, f"file.{extension}")
    assert parse_asset_path("/".join(map(quote, wanted))).segments == wanted


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("/index.html", "absolute_path"),
        ("a/../b.js", "dot_segment"),
        ("a/%2e%2E/b.js", "dot_segment"),
        ("a/./b.js", "dot_segment"),
        (".env", "hidden_segment"),
        ("a/.git/config", "hidden_segment"),
        ("a%2fb.js", "encoded_separator"),
        ("a%5Cb.js", "encoded_separator"),
        ("a%00.js", "encoded_separator"),
        ("a\\b.js", "backslash"),
        ("a%0d%0ab.js", "control_character"),
        ("a%C2%85b.js", "control_character"),
        ("a%ff.js", "not_utf8"),
        ("a\udcff.js", "not_utf8"),
        ("a%c0%ae%c0%ae/b.js", "not_utf8"),
        ("a%2.js", "broken_escape"),
        ("100%", "broken_escape"),
        ("run.exe", "unknown_extension"),
        ("trailing.", "unknown_extension"),
        ("users/jane.doe", "unknown_extension"),
        ("x" * 256, "path_too_long"),
        ("x/" * 600, "path_too_long"),
    ],
)
def test_a_refusal_names_the_rule(raw: str, reason: str) -> None:
    with pytest.raises(AssetPathRefused) as caught:
        parse_asset_path(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        ("", ()),
        ("index.html", ("index.html",)),
        ("a//b///c.js", ("a", "b", "c.js")),
        ("settings/users/", ("settings", "users")),
        ("v1.2/page", ("v1.2", "page")),
        ("a..b/c", ("a..b", "c")),
        ("%61pp.JS", ("app.JS",)),
        ("%252e%252e/a", ("%2e%2e", "a")),
        ("caf%C3%A9", ("café",)),
    ],
)
def test_a_path_is_decoded_exactly_once(raw: str, segments: tuple[str, ...]) -> None:
    assert parse_asset_path(raw) == AssetPath(segments)


def test_only_a_name_with_a_dot_can_only_be_a_file() -> None:
    assert parse_asset_path("app.js").names_a_file
    assert not parse_asset_path("v1.2/users").names_a_file
    assert not parse_asset_path("").names_a_file


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("index.html", HTML),
        ("APP.JS", "text/javascript"),
        ("app.mjs", "text/javascript"),
        ("app.css", "text/css"),
        ("app.js.map", "application/json"),
        ("main.wasm", "application/wasm"),
        ("logo.svg", "image/svg+xml"),
        ("font.woff2", "font/woff2"),
        ("LICENSE", OCTETS),
    ],
)
def test_the_kind_of_file_follows_its_last_extension(name: str, content_type: str) -> None:
    assert parse_asset_path(name).content_type == content_type


def test_the_root_is_not_a_file_but_the_page_is() -> None:
    assert parse_asset_path("").content_type == OCTETS
    assert INDEX.content_type == HTML
