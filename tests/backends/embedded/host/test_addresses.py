"""Which addresses are public, whatever they are wrapped in."""

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.embedded.host.addresses import is_public

FORBIDDEN_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
FORBIDDEN_V6 = [
    "::/128", "::1/128", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32",
    "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
WRAPPINGS: list[Callable[[int], int]] = [
    lambda v4: (0xFFFF << 32) | v4,  # mapped
    lambda v4: (0x2002 << 112) | (v4 << 80) | 1,  # 6to4
    lambda v4: (0x64FF9B << 96) | v4,  # NAT64
]

forbidden_v4 = st.sampled_from(FORBIDDEN_V4).flatmap(lambda net: st.ip_addresses(network=net))
forbidden_v6 = st.sampled_from(FORBIDDEN_V6).flatmap(lambda net: st.ip_addresses(network=net))
public = st.sampled_from(["1.1.1.0/24", "8.8.8.0/24", "93.184.0.0/16", "151.101.0.0/16"]).flatmap(
    lambda net: st.ip_addresses(network=net)
)
wrappings = st.sampled_from(WRAPPINGS)


@given(forbidden_v4 | forbidden_v6)
def test_special_purpose_addresses_are_forbidden(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert not is_public(address)


@given(forbidden_v4, wrappings)
def test_wrapping_a_forbidden_address_does_not_help(
    address: ipaddress.IPv4Address, wrap: Callable[[int], int]
) -> None:
    assert not is_public(ipaddress.IPv6Address(wrap(int(address))))


@given(public, wrappings)
def test_a_public_address_stays_public_in_any_wrapping(
    address: ipaddress.IPv4Address, wrap: Callable[[int], int]
) -> None:
    assert is_public(address)
    assert is_public(ipaddress.IPv6Address(wrap(int(address))))


@pytest.mark.parametrize("text", ["2606:4700:4700::1111", "2a00:1450:4001::200e"])
def test_ordinary_ipv6_hosts_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["fe80::1%eth0", "169.254.169.254", "::ffff:169.254.169.254", "192.0.0.192", "168.63.129.16"],
)
def test_the_addresses_of_cloud_metadata_and_links_are_forbidden(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))
