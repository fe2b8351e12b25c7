"""Does the client have this representation already? Preconditions of RFC 9110 section 13.

Only what an answer with a strong entity tag and no modification date can decide:
If-None-Match and If-Range. Pure.
"""

import re

_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def client_has(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match names `etag`, so that 304 is the answer.

    The comparison is the weak one (RFC 9110 section 13.1.2): caches weaken a tag when they
    compress. Text that is not a list of entity tags matches nothing.

    Args:
        if_none_match: the field's value, several fields joined by ", "; None when absent.
        etag: the current strong tag, quotes included.

    >>> client_has('"a", W/"b"', '"b"'), client_has("*", '"b"'), client_has("b", '"b"')
    (True, True, False)
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(tag == etag for _, tag in _ENTITY_TAG.findall(if_none_match))


def range_still_counts(if_range: str | None, etag: str) -> bool:
    """Whether a Range field may be honoured.

    The comparison is the strong one (RFC 9110 section 13.1.5). A date never matches, since
    no Last-Modified is ever sent.

    >>> range_still_counts(None, '"a"'), range_still_counts('W/"a"', '"a"')
    (True, False)
    """
    return if_range is None or if_range.strip() == etag
