"""What is read of a Next.js configuration, and what is called unknown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doctor.next_config import UNKNOWN, Address, NextConfig, find_config, read_config


def read(folder: Path, code: str, **environ: str) -> NextConfig:
    file = folder / "next.config.mjs"
    file.write_text(code)
    return read_config(file, environ)


def test_plain_values_are_read(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        export default {
          compress: false, basePath: '/app',
          experimental: { proxyTimeout: 35_000, "proxyClientMaxBodySize": "11mb" },
        };
        """,
    )
    assert (config.compress, config.base_path) == (False, "/app")
    assert (config.proxy_timeout_ms, config.max_body_bytes) == (35_000, 11 << 20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("45 * 1000", 45_000), ("40_000", 40_000), ("LIMIT", UNKNOWN), ("isDev ? 1 : 2", UNKNOWN)],
)
def test_a_number_is_read_or_called_unknown(tmp_path: Path, value: str, expected: object) -> None:
    assert read(tmp_path, f"x = {{ proxyTimeout: {value} }}").proxy_timeout_ms == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [('"2gb"', 2 << 30), ("'512kb'", 512 << 10), ("12345", 12345), ("`${n}mb`", UNKNOWN)],
)
def test_a_size_is_read_as_next_reads_it(tmp_path: Path, value: str, expected: object) -> None:
    assert read(tmp_path, f"x = {{ proxyClientMaxBodySize: {value} }}").max_body_bytes == expected


def test_what_a_comment_says_does_not_count_and_what_a_text_says_is_no_comment(
    tmp_path: Path,
) -> None:
    config = read(
        tmp_path,
        """
        // proxyTimeout: 1, beforeFiles
        /* compress: false */
        const gateway = "http://127.0.0.1:8787"; // beforeFiles
        export default { experimental: { proxyTimeout: 31000 } };
        """,
    )
    assert config.proxy_timeout_ms == 31_000
    assert config.compress is None
    assert not config.before_files
    assert config.addresses == (Address(scheme="http", host="127.0.0.1", port=8787),)


def test_a_short_hand_or_an_assignment_is_unknown_and_not_absent(tmp_path: Path) -> None:
    assert read(tmp_path, "const compress = f(); export default { compress }").compress is UNKNOWN
    assert read(tmp_path, "config.compress = false").compress is UNKNOWN


def test_a_rewrite_that_ignores_the_base_path_is_not_taken_for_the_base_path(
    tmp_path: Path,
) -> None:
    config = read(tmp_path, 'x = [{ source: "/runner/:path*", basePath: false }]')
    assert config.base_path is None
    assert config.ignores_base_path


def test_the_environment_decides_before_what_stands_behind_it(tmp_path: Path) -> None:
    code = 'const g = process.env.GATEWAY_URL ?? "http://127.0.0.1:8787";'
    assert [each.port for each in read(tmp_path, code).addresses] == [8787]
    told = read(tmp_path, code, GATEWAY_URL="https://[::1]:9000")
    assert told.addresses == (Address(scheme="https", host="::1", port=9000),)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('a = ["/runner/:path*"]', True),
        ("b = { source: `/runner/${rest}` }", True),
        ("c = '/runner(.*)'", True),
        ('d = "/runners/:path*"', False),
        ('e = "http://127.0.0.1:8787/runner/"', False),
    ],
)
def test_a_rewritten_path_is_found_whatever_follows_it(
    tmp_path: Path, code: str, expected: bool
) -> None:
    assert read(tmp_path, code).rewrites("/runner") is expected


def test_the_file_that_next_takes_first_is_the_one(tmp_path: Path) -> None:
    assert find_config(tmp_path) is None
    (tmp_path / "next.config.ts").touch()
    (tmp_path / "next.config.js").touch()
    assert find_config(tmp_path) == tmp_path / "next.config.js"


def test_a_file_that_is_no_text_or_far_too_long_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "next.config.js"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError):
        read_config(file)
    file.write_bytes(b" " * (256 * 1024 + 1))
    with pytest.raises(ValueError, match="too long"):
        read_config(file)


WORDS = """compress basePath proxyTimeout proxyClientMaxBodySize : , { } ' " ` // /* */ \\ false
    10mb 3_0 * http://a:1 ${ x process.env.A"""
TOKENS = st.sampled_from([*WORDS.split(), " ", "\n"])


@given(code=st.lists(TOKENS | st.text(max_size=3), max_size=30).map("".join))
def test_no_text_breaks_the_reader(code: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "next.config.mjs"
    file.write_text(code, encoding="utf-8", errors="replace")
    read_config(file)
