"""One kept file, and the answers that it gives so often that they are made once.

Pure. A file is kept under the SHA-256 of its bytes, which is also its entity tag.
"""

from dataclasses import dataclass, field
from typing import Final

from backends.contract import Pairs
from gateway.asset_cache.variants import is_compressible, variant_etag

Key = tuple[str, str]
"""(content hash of the bundle, the one percent-encoded spelling of the path inside it)."""

KEPT_FIELDS: Final = frozenset(
    {"content-language", "content-type", "last-modified", "x-content-type-options"}
)
"""What of a runner's answer is kept beside the bytes; the rest is worked out from them."""

OVERHEAD_BYTES: Final = 2048
"""What an entry is assumed to cost besides its bytes."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CachedAnswer:
    """An answer that is ready. The body is to be dropped when the method was HEAD.

    The same object is returned whenever the same answer is meant, except for ranges, so
    whoever derives something from it may remember that by the object.
    """

    status: int  # 200, 206, 304 or 416
    headers: Pairs  # names in lower case
    body: bytes | memoryview = field(default=b"", repr=False)


class Entry:
    """A file whose bytes have been compared with their hash.

    Attributes:
        fields: the runner's own, of KEPT_FIELDS.
        forms: how many there are to choose from, the plain one included.
        variants: coding -> the compressed answer; None: under way, or not worth it.
    """

    __slots__ = (
        "__weakref__",
        "_unchanged_variants",
        "body",
        "common",
        "compressible",
        "etag",
        "fields",
        "forms",
        "unchanged",
        "variants",
        "whole",
    )

    def __init__(self, sha256: str, body: bytes, fields: Pairs) -> None:
        self.etag = f'"sha256-{sha256}"'
        self.body = body
        self.fields = fields
        self.variants: dict[str, CachedAnswer | None] = {}
        self._unchanged_variants: dict[str, CachedAnswer] = {}
        self.forms = 1
        self.compressible = is_compressible(dict(fields)["content-type"], len(body))
        self.common: Pairs = (("accept-ranges", "bytes"),)
        if self.compressible:
            self.common += (("vary", "accept-encoding"),)
        length = ("content-length", str(len(body)))
        self.whole = CachedAnswer(200, (*fields, length, *self.validators(self.etag)), body)
        self.unchanged = CachedAnswer(304, self.validators(self.etag))

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        return self.etag[8:-1]

    @property
    def cost(self) -> int:
        """Bytes of memory, all variants included."""
        variants = sum(len(each.body) for each in self.variants.values() if each is not None)
        return OVERHEAD_BYTES + len(self.body) + variants

    def holds(self, answer: CachedAnswer) -> bool:
        """Whether this is one of the answers that are made once."""
        return answer in (
            self.whole,
            self.unchanged,
            *self.variants.values(),
            *self._unchanged_variants.values(),
        )

    def unchanged_variant(self, coding: str) -> CachedAnswer:
        """304 about the compressed form."""
        known = self._unchanged_variants.get(coding)
        if known is None:
            etag = variant_etag(self.etag, coding)
            known = self._unchanged_variants[coding] = CachedAnswer(304, self.validators(etag))
        return known

    def validators(self, etag: str) -> Pairs:
        """The fields of every answer about the representation with this tag."""
        return (("etag", etag), *self.common)

    def add_variant(self, coding: str, compressed: bytes) -> None:
        """Answer with `compressed` from now on, when a client prefers `coding`."""
        headers = (
            *self.fields,
            ("content-encoding", coding),
            ("content-length", str(len(compressed))),
            ("etag", variant_etag(self.etag, coding)),
            *(pair for pair in self.common if pair[0] != "accept-ranges"),
        )
        self.variants[coding] = CachedAnswer(200, headers, compressed)
        self.forms += 1
