"""What crosses, in each direction; stated as properties of any header block."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import (
    AssetRequest,
    ExecuteContext,
    ExecuteRequest,
    Limits,
    Pairs,
)
from backends.header_policy import (
    asset_from_runner,
    asset_to_runner,
    client_to_asset,
    client_to_guest,
    end_to_end,
    guest_to_client,
    own_of,
    to_runner,
)

tokens = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,15}", fullmatch=True)
MANAGED = st.sampled_from(
    [
        "Authorization", "Cookie", "Proxy-Authorization", "Forwarded", "X-Forwarded-For",
        "X-Forwarded-Host", "X-Alga-Tenant", "x-alga-extension", "X-Ext-Install-Id", "X-Tenant-Id",
        "X-Runner-Service-Token", "X-Api-Key", "K-Network-Probe", "K-Original-Host",
        "Knative-Serving-Revision", "X_Alga_Tenant", "x_runner_service_token", "Host", "Expect",
        "Content-Length", "Transfer-Encoding", "Upgrade", "Keep-Alive", "TE", "Set-Cookie",
    ]
)  # fmt: skip
names = tokens | MANAGED
values = st.text(st.characters(max_codepoint=0x17F), max_size=12)
blocks = st.lists(st.tuples(names, values), max_size=12).map(tuple)


@given(blocks, tokens)
def test_a_field_that_connection_names_stays_here(headers: Pairs, token: str) -> None:
    crossed = end_to_end((*headers, ("Connection", f"close, {token}"), (token, "secret")))
    assert token.lower() not in {name for name, _ in crossed}


@given(blocks, MANAGED, values)
def test_nothing_that_the_gateway_manages_comes_from_a_client(
    headers: Pairs, name: str, value: str
) -> None:
    for crossed in (
        client_to_guest((*headers, (name, value))),
        client_to_asset((*headers, (name, value))),
    ):
        assert name.lower() not in {crossing for crossing, _ in crossed}
        assert not any("_" in crossing for crossing, _ in crossed)


@given(blocks)
def test_a_guests_answer_can_carry_no_second_header(headers: Pairs) -> None:
    crossed = guest_to_client(headers)
    for name, value in crossed:
        assert name in {"content-type", "cache-control", "etag"} or name.startswith("x-ext-")
        assert not {"\r", "\n", "\0"} & set(name + value)
    assert len(dict(crossed)) == len(crossed)


def test_a_guest_writes_no_head_that_clients_refuse() -> None:
    many = tuple((f"x-ext-{number}", "v" * 8_000) for number in range(500))
    crossed = guest_to_client(many)
    assert crossed == many[: len(crossed)]
    assert 24_000 < sum(len(name) + len(value) + 4 for name, value in crossed) <= 32_768
    assert guest_to_client((("x-ext-" + "n" * 1_000, "v"), ("x-ext-\u212a", "v"))) == ()


@pytest.mark.parametrize("name", ["content-type", "ETag", "X-Ext-A"])
def test_what_a_guest_says_twice_counts_the_last_time(name: str) -> None:
    other, said = ("cache-control", "no-cache"), (name.lower(), "2")
    assert guest_to_client(((name, "1"), other, (name, "2"))) == (said, other)
    assert guest_to_client(((name.upper(), "1"), (name.lower(), "2"))) == (said,)
    assert guest_to_client(((name, "1"), (name, "2\r\n"), other)) == (other,)


@pytest.mark.parametrize("blank", ["", " \t"])
def test_a_guests_field_that_says_nothing_is_left_out(blank: str) -> None:
    standard = [(name, blank) for name in ("content-type", "cache-control", "etag")]
    assert guest_to_client((*standard, ("x-ext-a", blank))) == (("x-ext-a", blank),)


@given(blocks)
def test_a_runners_transport_stays_behind(headers: Pairs) -> None:
    crossed = {name for name, _ in asset_from_runner(headers)}
    assert not crossed & {
        "set-cookie",
        "cache-control",
        "connection",
        "transfer-encoding",
        "server",
    }


@pytest.mark.parametrize("agent", ["kube-probe/1.29", "KUBE-PROBE/1", "Knative-Activator-Probe"])
def test_a_client_cannot_pose_as_a_probe(agent: str) -> None:
    assert client_to_guest((("User-Agent", agent),)) == ()
    assert client_to_asset((("User-Agent", agent),)) == ()


def test_a_repeated_field_crosses_as_one() -> None:
    assert client_to_guest((("Accept", "a/b"), ("accept", "c/d"))) == (("accept", "a/b, c/d"),)


def test_a_runner_hears_who_is_asking_and_nothing_empty() -> None:
    request = ExecuteRequest(
        request_id="r-1",
        context=ExecuteContext(tenant_id="t", extension_id="e", content_hash="sha256:0"),
        method="GET",
        path="/",
        limits=Limits(timeout_ms=1),
        timeout_s=1.0,
        service_token="token",
    )
    assert to_runner(request) == (
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-alga-tenant", "t"),
        ("x-alga-extension", "e"),
        ("x-ext-registry-id", "e"),
        ("x-runner-service-token", "token"),
    )
    assert own_of(request) == (("x-request-id", "r-1"),)
    assert "token" not in repr(request).replace("service_token", "")


def test_an_asset_request_carries_the_conditions_and_the_tenant() -> None:
    request = AssetRequest(
        request_id="r-1",
        method="GET",
        extension_id="e",
        content_hash="sha256:0",
        path="index.html",
        tenant_id="t",
        headers=client_to_asset((("If-None-Match", '"1"'), ("Cookie", "c"))),
        timeout_s=1.0,
    )
    sent = dict(asset_to_runner(request))
    assert sent["if-none-match"] == '"1"'
    assert sent["x-tenant-id"] == "t"
    assert "cookie" not in sent
