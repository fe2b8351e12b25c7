"""Tells calls of this machine's user from those of a web page in the user's browser.

Any page that is open in a local browser can send requests to loopback and, by DNS rebinding, under
a host name of its own choosing, so that the browser takes them for requests to the page's own site.
"""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from yarl import URL

_OWN_SITE: Final = frozenset({"same-origin", "same-site", "none"})


@lru_cache(maxsize=256)
def host_name(authority: str) -> str:
    """The host of host[:port] in lower case; "" when it is none.

    >>> host_name("[::1]:8787"), host_name("App.Example")
    ('::1', 'app.example')
    """
    try:
        return (URL(f"//{authority}", encoded=True).host or "").lower()
    except ValueError:
        return ""


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether this name or address can only be this machine, whatever name servers say.

    >>> is_loopback("gateway.localhost"), is_loopback("127.0.0.2"), is_loopback("rebound.example")
    (True, True, False)
    """
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 section 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another site asks; tools such as curl say nothing."""
    site = headers.get("Sec-Fetch-Site")
    return site is not None and site not in _OWN_SITE
