"""The last look at every log line: what must not be written is masked, wherever it hides.

Events are written with care not to carry secrets. This is for the one that is not: an
exception that quotes an address with a password, a dictionary logged whole.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from structlog.typing import WrappedLogger

from middleware.source import Source

MASK: Final = "***"
MAX_TEXT: Final = 2048
MAX_ITEMS: Final = 64
MAX_DEPTH: Final = 6

SENSITIVE_WORDS: Final = frozenset({
    "apikey", "auth", "authorization", "bearer", "body", "ciphertext", "config", "cookie",
    "cookies", "credential", "credentials", "email", "envelope", "headers", "jwt", "key",
    "passphrase", "passwd", "password", "query", "secret", "secrets", "session", "sig",
    "signature", "token", "tokens",
})  # fmt: skip
"""A value is masked when one of these is a word of its name: x-gateway-key, bodyB64."""

_SHORTEST_SECRET: Final = 6  # masking a shorter one would riddle every line with masks
_MAX_EXAMINED: Final = 64 * 1024
_MAX_INTEGER_BITS: Final = 63  # renderers refuse what a signed 64-bit integer cannot hold
_PASSED_UNTOUCHED: Final = frozenset({"exc_info", "stack_info"})  # for later processors

_WORDS: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")
_CREDENTIALS: Final = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)\s+)[^\s,;\"']+"
    r"|(?P<slashes>://)[^\s/?#@\"']*@"
    r"|(?P<query>[?&][^\s=&#\"'?]{1,128}=)[^\s&#\"']+"
    r"|(?P<jwt>\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?)",
    re.IGNORECASE | re.ASCII,
)
_SIGNS: Final = ("=", "@", " ", "\t", "\n", "eyJ")
"""Without one of these the expression above cannot match, and most values have none."""


class Redactor:
    """A structlog processor. It belongs after exception formatting, before rendering.

    Args:
        secrets: the configured secret values; masked wherever they occur, also in the
            names of fields, also percent-encoded.
    """

    def __init__(self, secrets: Source[frozenset[str]]) -> None:
        self._secrets = secrets
        self._known: frozenset[str] = frozenset()
        self._spellings: tuple[str, ...] = ()
        self._pattern = re.compile("")

    def __call__(
        self, _logger: WrappedLogger, _name: str, event_dict: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        known = self._secrets()
        if known != self._known:
            self._known, self._spellings = known, _spellings_of(known)
            self._pattern = re.compile("|".join(map(re.escape, self._spellings)))
        return {
            # Underscored names are the logging library's own and never rendered.
            self._text(name): value
            if name in _PASSED_UNTOUCHED or name.startswith("_")
            else self._field(name, value, MAX_DEPTH)
            for name, value in event_dict.items()
        }

    def _field(self, name: str, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        return MASK if _is_masked(name) else self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        match value:
            case None | bool():
                return value
            case str():
                return self._text(value)
            case int() if value.bit_length() > _MAX_INTEGER_BITS:
                return f"<integer of {value.bit_length()} bits>"
            case int() | float():
                text = repr(value)
                return value if self._text(text) == text else MASK
            case bytes() | bytearray() | memoryview():
                return f"<{len(value)} bytes>"
            case Mapping() | list() | tuple() | set() | frozenset() if depth == 0:
                return "<nested too deeply>"
            case Mapping():
                return self._mapping(value, depth - 1)
            case list() | tuple() | set() | frozenset():
                return self._items(value, depth - 1)
            case _:
                return self._text(_shown(value))

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> dict[str, object]:
        cleaned: dict[str, object] = {}
        for count, (name, value) in enumerate(mapping.items()):
            if count == MAX_ITEMS:
                cleaned["..."] = f"<{len(mapping) - MAX_ITEMS} more>"
                break
            text = _shown(name)
            cleaned[self._text(text)] = self._field(text, value, depth)
        return cleaned

    def _items(self, items: Iterable[object], depth: int) -> list[object]:
        cleaned: list[object] = []
        for count, item in enumerate(items):
            if count == MAX_ITEMS:
                cleaned.append("<more>")
                break
            cleaned.append(self._value(item, depth))
        return cleaned

    def _text(self, text: str) -> str:
        examined = _encodable(text[:_MAX_EXAMINED])
        # Looked for first, because that is ten times cheaper than replacing nothing.
        if any(s in examined for s in self._spellings):
            examined = self._pattern.sub(MASK, examined)
        if any(sign in examined for sign in _SIGNS):
            examined = _CREDENTIALS.sub(_mask_credentials, examined)
        if len(examined) <= MAX_TEXT and len(text) <= _MAX_EXAMINED:
            return examined
        return f"{examined[:MAX_TEXT]}...<{len(text)} characters>"


redact: Final = Redactor(frozenset)
"""The processor for a process that knows no secrets of its own."""


def _spellings_of(secrets: frozenset[str]) -> tuple[str, ...]:
    spellings = {s for s in secrets if len(s) >= _SHORTEST_SECRET}
    spellings |= {quote(s, safe="") for s in spellings}
    # Longest first: of two secrets where one begins the other, none may leave a tail.
    return tuple(sorted(spellings, key=len, reverse=True))


def is_sensitive(name: str) -> bool:
    """Whether what goes by this name is not to be shown.

    >>> is_sensitive("x-gateway-key"), is_sensitive("x-request-id")
    (True, False)
    """
    return any(word.lower() in SENSITIVE_WORDS for word in _WORDS.findall(name))


# The names of a log's fields are few, and asked about for every line.
_is_masked: Final = lru_cache(maxsize=512)(is_sensitive)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a broken __str__ must not fail the request being logged
        return f"<{type(value).__name__}>"


def _mask_credentials(match: re.Match[str]) -> str:
    match match.lastgroup:
        case "scheme" | "query":
            return match[match.lastgroup] + MASK
        case "slashes":
            return f"://{MASK}@"
        case _:
            return MASK


def _encodable(text: str) -> str:
    """Undecodable bytes of a request arrive as surrogates, which no renderer can write."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
