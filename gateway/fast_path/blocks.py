"""Remembers parsed header blocks (all the fields of a request) by their exact bytes.

The requests of one page, or of one client, often send the very same fields; they are parsed once.
A block that holds a credential is remembered by a keyed hash of its bytes alone, and the credential
is read anew from each request, or once for a connection that repeats it: no credential outlives
the connection that brought it. Cookies do, and so does the user that a block names, within these
bounds.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from backends.memo import Memo
from middleware.caller import USER_HEADER
from middleware.redaction import is_sensitive

MAX_BLOCKS: Final = 256
MAX_BYTES: Final = 2048
"""The longest block that is remembered."""

_NO_CREDENTIALS: Final = frozenset({
    "cookie",  # all files of a page bring the same ones, and are to be found by them
    "x-ext-config-version", "x-ext-secrets-version", "x-idempotency-key",
})  # fmt: skip
"""Fields whose names sound like credentials to the log's redaction, which errs on the safe side."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a header block says.

    Attributes:
        fields: names in lower case, each of them once; without credentials.
        credentials: the name of each, and where in the block its value begins and ends.
        length: what Content-Length says; None: there is none, and no body.
        made: a cache for whatever follows from these bytes alone, credentials excepted.
    """

    fields: Mapping[str, str]
    credentials: tuple[tuple[str, int, int], ...]
    length: int | None
    made: dict[Any, Any] = field(default_factory=dict)

    @property
    def body_bytes(self) -> int:
        return self.length or 0

    def fields_in(self, block: bytes) -> Mapping[str, str]:
        """All fields; the credentials are read from `block`, which holds the same bytes again."""
        if not self.credentials:
            return self.fields
        return {
            **self.fields,
            **{
                name: block[begin:end].decode("utf-8", "surrogateescape")
                for name, begin, end in self.credentials
            },
        }


class Blocks:
    """A bounded memory of them."""

    def __init__(self) -> None:
        self._open: Memo[bytes, Block] = Memo(MAX_BLOCKS)
        self._sealed: Memo[bytes, Block] = Memo(MAX_BLOCKS)
        self._key = secrets.token_bytes(32)

    def get(self, raw: bytes) -> Block | None:
        """What these bytes were found to say."""
        known = self._open.get(raw)
        if known is None and self._sealed and len(raw) <= MAX_BYTES:
            known = self._sealed.get(self._seal(raw))
        return known

    def remember(self, raw: bytes, fields: Mapping[str, str]) -> dict[Any, Any] | None:
        """Keep what they say.

        Args:
            fields: all of them, credentials included.

        Returns:
            Where to keep what follows from them; None: they are too long to be remembered.
        """
        if len(raw) > MAX_BYTES:
            return None
        secret = credentials_among(fields)
        open_fields = {name: value for name, value in fields.items() if name not in secret}
        length = fields.get("content-length")
        block = Block(
            MappingProxyType(open_fields),
            _values_in(raw, secret) if secret else (),
            None if length is None else int(length),
        )
        if secret:
            self._sealed.keep(self._seal(raw), block)
        else:
            self._open.keep(raw, block)
        return block.made

    def _seal(self, raw: bytes) -> bytes:
        return blake2b(raw, digest_size=16, key=self._key).digest()


def credentials_among(names: Iterable[str]) -> frozenset[str]:
    """The fields whose value is a credential, or a person, of these.

    Args:
        names: in lower case.

    >>> sorted(credentials_among(["host", "cookie", "authorization", "x-api-key"]))
    ['authorization', 'x-api-key']
    """
    return frozenset(filter(_is_credential, names))


@lru_cache(maxsize=512)
def _is_credential(name: str) -> bool:
    return name == USER_HEADER or (is_sensitive(name) and name not in _NO_CREDENTIALS)


def _values_in(raw: bytes, names: frozenset[str]) -> tuple[tuple[str, int, int], ...]:
    found, end = [], -2
    for line in raw.split(b"\r\n"):
        end += 2 + len(line)
        raw_name, _, raw_value = line.partition(b":")
        name = raw_name.decode("ascii", "replace").lower()
        if name in names:
            found.append((name, end - len(raw_value.lstrip(b" \t")), end))
    return tuple(found)


BLOCKS: Final = Blocks()
"""One for the process: what a header block says does not depend on who listens."""
