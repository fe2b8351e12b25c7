"""Which addresses a guest may reach: those of the public internet, in any spelling."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637, unknown to Python 3.11
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")  # known to Python 3.11.10 as a whole
_AZURE_HOST = ipaddress.IPv4Address("168.63.129.16")  # public by its number alone
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether `address` is an ordinary host of the public internet.

    Private, loopback, link-local, multicast, reserved, shared and unspecified addresses are
    not; nor is the one by which virtual machines of Azure reach their host, which knows their
    secrets. An IPv6 address that only wraps an IPv4 one (mapped, 6to4, NAT64) is judged by
    what it wraps, since that is where the packets end.

    Source:
        RFC 6890 (special-purpose registries), RFC 4291 section 2.5.5.2 (mapped),
        RFC 3056 (6to4), RFC 6052 section 2.1 (NAT64 well-known prefix).

    >>> is_public(ipaddress.ip_address("8.8.8.8")), is_public(ipaddress.ip_address("10.0.0.1"))
    (True, False)
    >>> is_public(ipaddress.ip_address("64:ff9b::a00:1"))
    False
    """
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = _wrapped_ipv4(address)
        if wrapped is not None:
            return is_public(wrapped)
        if address not in _GLOBAL_UNICAST or address in _DOCUMENTATION:
            return False
    elif address in _PROTOCOLS or address == _AZURE_HOST:
        return False
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )


def _wrapped_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
