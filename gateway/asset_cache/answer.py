"""What a kept file answers: whole, in part, compressed, or "you have it". Pure."""

from typing import NamedTuple

from backends.embedded.byte_range import RangeNotSatisfiable, parse_range
from backends.embedded.conditional import client_has, range_still_counts
from gateway.asset_cache.entry import CachedAnswer, Entry
from gateway.asset_cache.variants import acceptable, variant_etag


class RequestFields(NamedTuple):
    """The request fields that decide which answer it is; None for an absent one."""

    if_none_match: str | None = None
    range: str | None = None  # leave it out for a HEAD: RFC 9110 section 14.2
    if_range: str | None = None
    accept_encoding: str | None = None


def answer_from(entry: Entry, fields: RequestFields) -> CachedAnswer:
    """The answer to a GET or HEAD with these fields.

    A request with a Range never gets a compressed form: the parts of one form must not be
    joined to those of another (RFC 9110 section 14.5).
    """
    codings = acceptable(fields.accept_encoding) if entry.compressible else ()
    if fields.if_none_match is not None:
        ranged = fields.range is not None
        unchanged = _unchanged(entry, fields.if_none_match, () if ranged else codings)
        if unchanged is not None:
            return unchanged
    if fields.range is not None:
        return _part(entry, fields.range, fields.if_range)
    return _preferred(entry, codings)


def lacking(entry: Entry, accept_encoding: str | None) -> str | None:
    """The coding that this client would like best and that nobody has tried to make yet."""
    codings = acceptable(accept_encoding) if entry.compressible else ()
    return codings[0] if codings and codings[0] not in entry.variants else None


def _preferred(entry: Entry, codings: tuple[str, ...]) -> CachedAnswer:
    for coding in codings:
        if (variant := entry.variants.get(coding)) is not None:
            return variant
    return entry.whole


def _unchanged(entry: Entry, if_none_match: str, codings: tuple[str, ...]) -> CachedAnswer | None:
    """304 about the form that the client names, if it could be given that form today."""
    if if_none_match.strip() == "*":
        preferred = _preferred(entry, codings)
        if preferred is entry.whole:
            return entry.unchanged
        return CachedAnswer(304, entry.validators(dict(preferred.headers)["etag"]))
    if if_none_match == entry.etag or client_has(if_none_match, entry.etag):
        return entry.unchanged
    for coding in codings:
        if client_has(if_none_match, variant_etag(entry.etag, coding)):
            return entry.unchanged_variant(coding)
    return None


def _part(entry: Entry, wanted: str, if_range: str | None) -> CachedAnswer:
    if not range_still_counts(if_range, entry.etag):
        return entry.whole
    size = len(entry.body)
    validators = entry.validators(entry.etag)
    try:
        part = parse_range(wanted, size)
    except RangeNotSatisfiable:
        sizes = (("content-range", f"bytes */{size}"), ("content-length", "0"))
        return CachedAnswer(416, (*sizes, *validators))
    if part is None:
        return entry.whole
    headers = (
        *entry.fields,
        ("content-length", str(part.length)),
        ("content-range", f"bytes {part.first}-{part.last}/{size}"),
        *validators,
    )
    # No copy: each client that takes its time would hold one of its own.
    return CachedAnswer(206, headers, memoryview(entry.body)[part.first : part.last + 1])
