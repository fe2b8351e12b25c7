"""Which names guests may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.embedded.host.egress import AddressRefused, EgressPolicy

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)


@given(hosts)
def test_an_empty_list_admits_nothing(host: str) -> None:
    assert not EgressPolicy().allows_host(host)


@given(hosts, hosts)
def test_an_entry_admits_itself_and_its_subdomains_alone(entry: str, prefix: str) -> None:
    policy = EgressPolicy((entry,))
    assert policy.allows_host(entry)
    assert policy.allows_host(f"{entry}.")
    assert policy.allows_host(entry.upper())
    assert policy.allows_host(f"{prefix}.{entry}")
    assert not policy.allows_host(f"{prefix}{entry}")
    assert not policy.allows_host(f"{entry}.{prefix}.invalid")
    assert not policy.allows_host(f"-{entry}")


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        (".example.com", "example.com"),
        (" Example.COM. ", "api.example.com"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("[2606:4700::1]", "2606:4700::1"),
        ("2606:4700::1", "2606:4700::1"),
    ],
)
def test_an_entry_may_be_written_as_people_write_it(entry: str, host: str) -> None:
    assert EgressPolicy((entry,)).allows_host(host)


@pytest.mark.parametrize("entry", ["", "*", "*.example.com", "https://example.com", "a b", "a/b"])
def test_an_entry_that_could_never_match_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="allow-list"):
        EgressPolicy((entry,))


def test_private_addresses_are_refused_unless_the_policy_says_otherwise() -> None:
    with pytest.raises(AddressRefused):
        EgressPolicy().vet("127.0.0.1")
    EgressPolicy().vet("8.8.8.8")
    EgressPolicy(is_allowed_address=lambda _: True).vet("127.0.0.1")
