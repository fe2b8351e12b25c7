"""Which requests a kept file may answer, and which answers may be kept. Pure.

HTML is neither: a page must be asked about before each use, and it is small beside what it
loads. Nor is anything that came with a content security policy, since that belongs to the
runner's configuration of today and not to the file.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from backends.asset_path import HTML, parse_asset_path
from backends.contract import AssetRequest, AssetResponse, Pairs
from backends.errors import AssetPathRefused
from gateway.asset_cache.answer import RequestFields
from gateway.asset_cache.entry import KEPT_FIELDS, Key
from gateway.asset_cache.variants import is_compressible

_ETAG: Final = re.compile(r'"sha256-([0-9a-f]{64})"')
_UNSUPPORTED: Final = frozenset({"if-match", "if-unmodified-since"})
_OF_THE_QUESTION: Final = frozenset(
    {"accept-encoding", "if-modified-since", "if-none-match", "if-range", "range"}
)
_IDENTITY: Final = ("accept-encoding", "identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request as far as a kept file can answer it."""

    key: Key
    head: bool
    fields: RequestFields

    @classmethod
    def of(cls, request: AssetRequest) -> Self | None:
        """None when only a runner may answer: a page, a refused path, a rare precondition."""
        path = _file_of(request.path)
        if path is None:
            return None
        headers = dict(request.headers)
        if not _UNSUPPORTED.isdisjoint(headers):
            return None
        if "if-modified-since" in headers and "if-none-match" not in headers:
            return None  # without a tag the date counts: RFC 9110 section 13.1.3
        head = request.method == "HEAD"
        return cls(
            key=(request.content_hash, path),
            head=head,
            fields=RequestFields(
                if_none_match=headers.get("if-none-match"),
                range=None if head else headers.get("range"),
                if_range=headers.get("if-range"),
                accept_encoding=headers.get("accept-encoding"),
            ),
        )

    @property
    def wants_all(self) -> bool:
        """Whether a 200 to this request is sure to carry the whole file."""
        return self.may_bring_all and self.fields.if_none_match is None

    @property
    def may_bring_all(self) -> bool:
        """Whether it carries the whole file unless the client has it already (304)."""
        return not self.head and self.fields.range is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the head of an answer says about the file that follows; not yet verified."""

    sha256: str  # 64 hex digits
    size: int
    fields: Pairs  # of KEPT_FIELDS

    @classmethod
    def of(cls, response: AssetResponse, *, largest: int) -> Self | None:
        """None when the answer may not be kept, whatever its bytes.

        Args:
            largest: size in bytes of the largest file to keep.
        """
        told = dict(response.headers)
        etag = _ETAG.fullmatch(told.get("etag", ""))
        length = told.get("content-length", "")
        content_type = told.get("content-type", "")
        if (
            response.status != 200
            or len(told) != len(response.headers)  # two answers to one question
            or etag is None
            or not (length.isascii() and length.isdigit() and len(length) < 16)
            or int(length) > largest
            or not content_type
            or content_type.lower().startswith("text/html")
            or "content-security-policy" in told
            or told.get("content-encoding", "identity").strip().lower() != "identity"
            or told.get("vary", "accept-encoding").strip().lower() != "accept-encoding"
        ):
            return None
        fields = tuple(pair for pair in response.headers if pair[0] in KEPT_FIELDS)
        return cls(sha256=etag[1], size=int(length), fields=fields)

    def headers_of(self, response: AssetResponse) -> Pairs:
        """The runner's own, for a first answer like those that the kept file will give."""
        compressible = is_compressible(dict(self.fields)["content-type"], self.size)
        if not compressible or any(name == "vary" for name, _ in response.headers):
            return response.headers
        return (*response.headers, ("vary", "accept-encoding"))


@lru_cache(maxsize=512)
def _file_of(raw_path: str) -> str | None:
    """The usual spelling of a path that means a file and no page; None for all others."""
    try:
        path = parse_asset_path(raw_path)
    except AssetPathRefused:
        return None
    return path.quoted if path.names_a_file and path.content_type != HTML else None


def asking_for_bytes(request: AssetRequest) -> Pairs:
    """The fields of a request whose answer is to be kept: no coding but the plain bytes."""
    return (*(pair for pair in request.headers if pair[0] != "accept-encoding"), _IDENTITY)


def asking_whether(request: AssetRequest, etag: str) -> Pairs:
    """The fields of the question "is it still this file, and may this caller see it?"."""
    kept = (pair for pair in request.headers if pair[0] not in _OF_THE_QUESTION)
    return (*kept, ("if-none-match", etag), _IDENTITY)
