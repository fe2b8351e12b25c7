"""The envelope is exactly the runner protocol's, in both directions."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import (
    WITHOUT_CONTENT,
    ExecuteContext,
    ExecuteRequest,
    ExecuteResult,
    Limits,
    SecretEnvelope,
    User,
)
from backends.envelope.call import decode_request, encode_request, guest_timeout_ms
from backends.envelope.members import EnvelopeError
from backends.envelope.result import decode_result, encode_result

HASH = "sha256:" + "ab" * 32
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
optional = st.none() | text
string_maps = st.dictionaries(text, text, max_size=4)

requests = st.builds(
    ExecuteRequest,
    request_id=identifiers,
    context=st.builds(
        ExecuteContext,
        tenant_id=identifiers,
        extension_id=identifiers,
        content_hash=st.just(HASH),
        install_id=optional,
        version_id=optional,
        config=string_maps,
    ),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    path=text.map(lambda tail: f"/{tail}"),
    query=string_maps.map(lambda pairs: tuple(pairs.items())),
    headers=st.dictionaries(identifiers.map(str.lower), text, max_size=4).map(
        lambda pairs: tuple(pairs.items())
    ),
    body=st.none() | st.binary(max_size=50),
    limits=st.builds(
        Limits,
        timeout_ms=st.integers(1, 27_000),
        memory_mb=st.none() | st.integers(0, 4096),
        fuel=st.none() | st.integers(0, 2**60),
    ),
    timeout_s=st.just(30.0),
    providers=st.lists(text, max_size=3).map(tuple),
    user=st.none()
    | st.builds(
        User,
        user_id=text,
        user_email=text,
        user_name=text,
        user_type=text,
        client_name=text,
        client_id=optional,
        additional_fields=string_maps,
    ),
    secret_envelope=st.none()
    | st.builds(SecretEnvelope, ciphertext_b64=text, algorithm=optional, expires_at=optional),
)


@given(requests)
def test_what_the_gateway_writes_a_runner_reads_back_whole(request: ExecuteRequest) -> None:
    assert decode_request(encode_request(request), timeout_s=30.0, request_id="other") == request


@given(
    st.builds(
        ExecuteResult,
        status=st.integers(200, 599).filter(lambda status: status not in WITHOUT_CONTENT),
        headers=st.dictionaries(identifiers.map(str.lower), text, max_size=4).map(
            lambda pairs: tuple(pairs.items())
        ),
        body=st.none() | st.binary(max_size=50),
    )
)
def test_what_a_runner_answers_the_gateway_reads_back_whole(result: ExecuteResult) -> None:
    assert decode_result(encode_result(result)) == result


def test_members_that_this_program_does_not_know_pass_through() -> None:
    raw = envelope(
        context={"tenant_id": "t", "extension_id": "e", "content_hash": HASH, "trigger": "cron"},
        http={"method": "GET", "path": "/", "url": "/x"},
        endpoint="ui-proxy:/x",
    )
    again = orjson.loads(encode_request(decode(raw)))
    assert again["context"]["trigger"] == "cron"
    assert again["http"]["url"] == "/x"
    assert again["endpoint"] == "ui-proxy:/x"


def test_what_a_caller_wrote_goes_on_as_it_was_judged() -> None:
    raw = envelope(
        context={"tenant_id": "t", "extension_id": "e", "content_hash": "AB" * 32},
        http={"method": "post", "path": "/", "headers": {"X-A": "1"}, "body_b64": " aGk= "},
        limits={"timeout_ms": 10**9, "memory_mb": 5},
    )
    call = decode(raw)
    again = orjson.loads(encode_request(replace(call, request_id="r-2")))
    assert again["context"]["request_id"] == "r-2"
    assert again["context"]["content_hash"] == HASH
    assert again["http"]["method"] == "POST"
    assert again["http"]["headers"] == {"x-a": "1"}
    assert again["http"]["body_b64"] == "aGk="
    assert again["limits"] == {"timeout_ms": guest_timeout_ms(30.0), "memory_mb": 5}
    assert call.said is not None
    assert "body_b64" not in call.said["http"]  # a long one is not held twice


@pytest.mark.parametrize(
    ("place", "others"),
    [
        ("user", {"user_id": "u", "user_email": "e", "user_name": "n", "user_type": "client"}),
        ("http", {"method": "GET", "path": "/"}),
        ("limits", {}),
        ("unknown", {}),
    ],
)
def test_a_member_that_cannot_be_written_again_for_its_depth_is_refused(
    place: str, others: dict[str, object]
) -> None:
    def nested(levels: int) -> bytes:
        deep = "[" * levels + "]" * levels
        return envelope(**{place: {**others, "deep": "(deep)"}}).replace(b'"(deep)"', deep.encode())

    assert encode_request(decode(nested(200)))
    with pytest.raises(EnvelopeError, match="nested_too_deeply"):
        encode_request(decode(nested(300)))


def test_no_body_is_null_and_an_empty_body_is_empty_text() -> None:
    assert decode(envelope(http={"method": "GET", "path": "/", "body_b64": None})).body is None
    empty = decode(envelope(http={"method": "GET", "path": "/", "body_b64": ""}))
    assert empty.body == b""
    assert orjson.loads(encode_request(empty))["http"]["body_b64"] == ""


def test_a_timeout_is_always_sent_and_never_above_the_budget() -> None:
    for limits in ({}, {"timeout_ms": None}, {"timeout_ms": 10**9}):
        assert decode(envelope(limits=limits)).limits.timeout_ms == guest_timeout_ms(30.0)
    assert decode(envelope(limits={"timeout_ms": 5})).limits.timeout_ms == 5


@given(st.floats(0.001, 3600))
def test_the_guests_share_leaves_room_for_its_own_timeout_to_be_heard(budget_s: float) -> None:
    share_s = guest_timeout_ms(budget_s) / 1000
    assert share_s <= max(budget_s, 0.001)
    assert share_s >= budget_s / 2 - 0.001
    assert budget_s - share_s <= 1.001 or share_s == 0.001


def test_a_bare_hash_gains_its_prefix_and_loses_its_capitals() -> None:
    context = {"tenant_id": "t", "extension_id": "e", "content_hash": "AB" * 32}
    assert decode(envelope(context=context)).context.content_hash == HASH


def test_a_company_name_is_an_alias_of_the_clients_name() -> None:
    user = {"user_id": "1", "user_email": "e", "user_name": "n", "user_type": "msp"}
    decoded = decode(envelope(user=user | {"company_name": "Acme"})).user
    assert decoded is not None
    assert decoded.client_name == "Acme"
    with pytest.raises(EnvelopeError, match=r"user\.company_name"):
        decode(envelope(user=user | {"company_name": "A", "client_name": "B"}))


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "context": lambda e: e.pop("context"),
    "context.tenant_id": lambda e: e["context"].update(tenant_id="../x"),
    "context.extension_id": lambda e: e["context"].update(extension_id=".."),
    "context.content_hash": lambda e: e["context"].update(content_hash="sha256:12"),
    "context.install_id": lambda e: e["context"].update(install_id=5),
    "context.config": lambda e: e["context"].update(config={"a": 1}),
    "http.method": lambda e: e["http"].pop("method"),
    "http.path": lambda e: e["http"].update(path=None),
    "http.query": lambda e: e["http"].update(query={"a": ["1"]}),
    "http.body_b64": lambda e: e["http"].update(body_b64="***"),
    "limits.timeout_ms": lambda e: e.update(limits={"timeout_ms": True}),
    "limits.memory_mb": lambda e: e.update(limits={"memory_mb": "5"}),
    "limits.fuel": lambda e: e.update(limits={"fuel": -1}),
    "providers": lambda e: e.update(providers=None),
    "user.user_email": lambda e: e.update(user={"user_id": "1"}),
    "secret_envelope.ciphertext_b64": lambda e: e.update(secret_envelope={}),
}


@pytest.mark.parametrize("field", BROKEN)
def test_a_broken_envelope_is_refused_by_the_name_of_its_member(field: str) -> None:
    whole = orjson.loads(envelope())
    BROKEN[field](whole)
    with pytest.raises(EnvelopeError) as caught:
        decode(orjson.dumps(whole))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"{", "answer_not_json"),
        (b"[]", "answer_not_an_object"),
        (b"{}", "answer_without_http_status"),
        (b'{"status":"200"}', "answer_without_http_status"),
        (b'{"status":true}', "answer_without_http_status"),
        (b'{"status":101}', "answer_without_http_status"),
        (b'{"status":600}', "answer_without_http_status"),
        (b'{"status":200,"headers":[]}', "answer_headers_not_an_object"),
        (b'{"status":200,"body_b64":5}', "answer_body_not_base64"),
        (b'{"status":200,"body_b64":"a"}', "answer_body_not_base64"),
    ],
)
def test_an_answer_that_is_not_the_protocol_is_refused(answer: bytes, reason: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        decode_result(answer)
    assert caught.value.reason == reason


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_that_has_no_body_loses_it(status: int) -> None:
    body = base64.b64encode(b"x").decode()
    assert decode_result(orjson.dumps({"status": status, "body_b64": body})).body is None


def test_a_list_as_one_headers_value_is_joined() -> None:
    raw = orjson.dumps({"status": 200, "headers": {"X-Ext-A": ["1", "2"], "x-ext-n": 5}})
    assert decode_result(raw).headers == (("x-ext-a", "1, 2"),)


def test_a_header_that_a_guest_names_twice_is_in_its_envelope_once() -> None:
    said = (("Content-Type", "a/b"), ("X-Ext-A", "1"), ("content-type", "c/d"))
    raw = encode_result(ExecuteResult(status=200, headers=said))
    assert orjson.loads(raw)["headers"] == {"content-type": "c/d", "x-ext-a": "1"}


def test_a_runners_detail_stays_behind() -> None:
    raw = orjson.dumps({"status": 502, "error": "bundle_fetch_failed: http://store/?sig=secret"})
    result = decode_result(raw)
    assert result.error == "bundle_fetch_failed"
    assert "secret" not in repr(result)


def envelope(**members: object) -> bytes:
    return orjson.dumps(
        {
            "context": {"tenant_id": "t", "extension_id": "e", "content_hash": HASH},
            "http": {"method": "GET", "path": "/"},
        }
        | members
    )


def decode(raw: bytes) -> ExecuteRequest:
    return decode_request(raw, timeout_s=30.0, request_id="r-1")
