"""The request target of an extension's handler, taken apart from the bytes the client sent.

Works on the raw target, because a parsed and normalised URL may no longer be the one that
was authorised.
"""

from urllib.parse import parse_qsl, unquote_to_bytes

from backends.contract import Pairs
from middleware.errors import InvalidPath, InvalidRequest

MAX_QUERY_FIELDS = 1000


def split_raw(target: str) -> tuple[str, str]:
    """The path and the query of a raw target, neither decoded.

    >>> split_raw("/a%20b?c=d?e")
    ('/a%20b', 'c=d?e')
    """
    path, _, query = target.partition("?")
    return path, query


def handler_path(raw_path: str, *, prefix_segments: int) -> tuple[str, str]:
    """The extension and the path inside it.

    Args:
        raw_path: percent-encoded, such as "/api/ext/acme.crm/a%20b//c".
        prefix_segments: how many segments stand before the extension's.

    Returns:
        The extension, and "/" with the decoded segments joined by "/", empty ones dropped.

    Raises:
        InvalidPath: a segment is not UTF-8, names a place above or below its own, or would end
            the path in a URL that somebody makes of it.

    >>> handler_path("/api/ext/acme.crm/a%20b//c", prefix_segments=2)
    ('acme.crm', '/a b/c')
    """
    raw_extension, *rest = raw_path.split("/")[prefix_segments + 1 :]
    return decoded(raw_extension), "/" + "/".join(decoded(part) for part in rest if part)


def decoded(segment: str) -> str:
    """One path segment, percent-decoded. Raises InvalidPath.

    >>> decoded("J%C3%BCrgen")
    'Jürgen'
    """
    if "%" not in segment:
        return segment
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidPath("path_not_utf8") from None
    if "/" in text or "\\" in text:
        raise InvalidPath("encoded_separator")
    if "?" in text or "#" in text:  # handlers get path and query as one text
        raise InvalidPath("encoded_query_or_fragment")
    if not text.isprintable():
        raise InvalidPath("unprintable_character")
    return text


def query_pairs(raw_query: str) -> Pairs:
    """The fields of a query in order, form-decoded; blank values stay.

    Raises:
        InvalidRequest: more than MAX_QUERY_FIELDS fields.

    >>> query_pairs("a=1&b=&a=x+y%20z")
    (('a', '1'), ('b', ''), ('a', 'x y z'))
    """
    if not raw_query:
        return ()
    try:
        return tuple(parse_qsl(raw_query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise InvalidRequest("too_many_query_fields", field="query") from None


def without_fields(raw_query: str, names: frozenset[str]) -> str:
    """A raw query less the fields of these names; what stays keeps its bytes.

    >>> without_fields("path=%2F&tenant=evil&_h=1", frozenset({"tenant"}))
    'path=%2F&_h=1'
    """
    parts = raw_query.split("&")
    return "&".join(part for part in parts if part and _name_of(part) not in names)


def _name_of(part: str) -> str:
    """The decoded name of one `name=value` part."""
    pairs = parse_qsl(part, keep_blank_values=True)
    return pairs[0][0] if pairs else ""
