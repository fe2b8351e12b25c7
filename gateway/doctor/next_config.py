"""Reads what it can of a Next.js configuration, and says what it could not.

A configuration is a program; only Node could run it. What people write in it is nearly always
plain: a number, a word, a list of rewrites. Comments are left out, texts are kept whole, and a
value that is worked out is called unknown instead of guessed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

NAMES: Final = ("next.config.js", "next.config.mjs", "next.config.ts", "next.config.mts")
MAX_BYTES: Final = 256 * 1024

T = TypeVar("T")

_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`""", re.DOTALL
)
_NUMBER = re.compile(r"\d[\d_]*(?:\s*\*\s*\d[\d_]*)*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(b|kb|mb|gb)?", re.IGNORECASE)
_UNITS: Final = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_ADDRESS = re.compile(
    r"[\"'`](https?)://(\[[0-9a-fA-F:]+\]|[^\[/\"'`:$\s]+)(?::(\d{1,5}))?(?:/[^\"'`]*)?[\"'`]"
)
_FROM_ENVIRONMENT = re.compile(r"process\.env\.([A-Z][A-Z0-9_]*)")


class Unknown:
    """A value that is there, and that only Node could work out."""


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address that the configuration names."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NextConfig:
    """What a configuration says. None: it does not mention it."""

    file: Path
    compress: bool | Unknown | None
    base_path: str | Unknown | None
    proxy_timeout_ms: int | Unknown | None
    max_body_bytes: int | Unknown | None
    before_files: bool
    texts: tuple[str, ...]  # what stands between quotes
    ignores_base_path: bool  # a rewrite says basePath: false
    addresses: tuple[Address, ...]

    def rewrites(self, prefix: str) -> bool:
        """Whether a text in it is the pattern of paths below `prefix`, such as "/api/ext"."""
        below = tuple(prefix + mark for mark in "/:(")
        return any(text == prefix or text.startswith(below) for text in self.texts)


def find_config(folder: Path) -> Path | None:
    """The file that Next would take."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def read_config(file: Path, environ: Mapping[str, str] | None = None) -> NextConfig:
    """Read a configuration.

    Args:
        environ: where process.env.NAME is looked up when an address may come from it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8 text, or far too long for a configuration.
    """
    with file.open("rb") as opened:
        raw = opened.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError("the configuration is too long")
    code = without_comments(raw.decode("utf-8"))
    return NextConfig(
        file=file,
        compress=_literal(code, "compress", _boolean),
        base_path=_literal(code, "basePath", _text),
        proxy_timeout_ms=_literal(code, "proxyTimeout", _number),
        max_body_bytes=_literal(code, "proxyClientMaxBodySize", _size),
        before_files=re.search(r"\bbeforeFiles\b", code) is not None,
        texts=tuple(text[0][1:-1] for text in _TOKEN.finditer(code)),
        ignores_base_path=re.search(r"\bbasePath\s*:\s*false\b", code) is not None,
        addresses=tuple(dict.fromkeys(_addresses(code, environ or {}))),
    )


def without_comments(code: str) -> str:
    """The same code with a space for every comment; what looks like one in a text stays.

    >>> without_comments('a: "//no" // yes')
    'a: "//no"  '
    """
    return _TOKEN.sub(lambda found: " " if found[0].startswith(("//", "/*")) else found[0], code)


def _literal(code: str, key: str, read: Callable[[str], T | None]) -> T | Unknown | None:
    """The value of the first member of that name; `basePath: false` belongs to a rewrite."""
    for found in re.finditer(rf"(?<![\w$.]){key}[\"']?\s*:\s*([^,}}\n]+|$)", code):
        value = found[1].strip()
        if key == "basePath" and value == "false":
            continue
        told = read(value)
        return UNKNOWN if told is None else told
    # `{ compress, ... }` and `config.compress = false` say something, too.
    return UNKNOWN if re.search(rf"(?<![\w$\"']){key}\b(?!\s*:)", code) else None


def _boolean(value: str) -> bool | None:
    return {"true": True, "false": False}.get(value)


def _text(value: str) -> str | None:
    if len(value) < 2 or value[0] not in "\"'`" or value[-1] != value[0] or "${" in value:
        return None
    return value[1:-1]


def _number(value: str) -> int | None:
    if _NUMBER.fullmatch(value) is None:
        return None
    product = 1
    for factor in value.split("*"):
        product *= int(factor)
    return product


def _size(value: str) -> int | None:
    """Bytes, as a number or as the text that Next reads: "11mb" is 11 MiB."""
    found = _SIZE.fullmatch(_text(value) or "")
    if found is None:
        return _number(value)
    return int(float(found[1]) * _UNITS[(found[2] or "b").lower()])


def _addresses(code: str, environ: Mapping[str, str]) -> Iterator[Address]:
    for name in _FROM_ENVIRONMENT.findall(code):
        found = _ADDRESS.fullmatch(f'"{environ.get(name, "")}"')
        if found is not None:
            yield _address(found)
            return  # what stands behind `??` is not used then
    for found in _ADDRESS.finditer(code):
        yield _address(found)


def _address(found: re.Match[str]) -> Address:
    scheme = found[1]
    port = int(found[3]) if found[3] else {"http": 80, "https": 443}[scheme]
    return Address(scheme=scheme, host=found[2].strip("[]"), port=port)
