"""What one file answers to the tags and codings that a client names."""

import hashlib

import pytest

from gateway.asset_cache.answer import RequestFields, answer_from, lacking
from gateway.asset_cache.entry import Entry
from gateway.asset_cache.variants import CODINGS, compressed

BODY = b"a { color: red }\n" * 200


@pytest.fixture
def entry() -> Entry:
    made = Entry(hashlib.sha256(BODY).hexdigest(), BODY, (("content-type", "text/css"),))
    for coding in CODINGS:
        packed = compressed(coding, BODY)
        assert packed is not None
        made.add_variant(coding, packed)
    return made


def tag(entry: Entry, coding: str) -> str:
    return f'{entry.etag[:-1]}-{coding}"'


@pytest.mark.parametrize("coding", CODINGS)
def test_the_tag_of_a_compressed_form_is_known_again(entry: Entry, coding: str) -> None:
    for said in (tag(entry, coding), f"W/{tag(entry, coding)}", f'"x", {tag(entry, coding)}'):
        answer = answer_from(entry, RequestFields(if_none_match=said, accept_encoding=coding))
        assert (answer.status, answer.body) == (304, b"")
        assert dict(answer.headers)["etag"] == tag(entry, coding)
        assert dict(answer.headers)["vary"] == "accept-encoding"
        assert "content-length" not in dict(answer.headers)


def test_the_plain_tag_is_known_whatever_is_accepted(entry: Entry) -> None:
    answer = answer_from(entry, RequestFields(if_none_match=entry.etag, accept_encoding="gzip"))
    assert answer is entry.unchanged


def test_a_form_that_the_client_does_not_take_now_is_sent_anew(entry: Entry) -> None:
    answer = answer_from(
        entry, RequestFields(if_none_match=tag(entry, "gzip"), accept_encoding="zstd")
    )
    assert answer.status == 200
    assert dict(answer.headers)["content-encoding"] == "zstd"


def test_any_tag_at_all_is_the_one_that_would_be_sent(entry: Entry) -> None:
    answer = answer_from(entry, RequestFields(if_none_match="*", accept_encoding="gzip"))
    assert (answer.status, dict(answer.headers)["etag"]) == (304, tag(entry, "gzip"))
    assert answer_from(entry, RequestFields(if_none_match="*")) is entry.unchanged


@pytest.mark.parametrize("if_range", [None, "plain", "gzip"])
def test_a_range_never_meets_a_compressed_form(entry: Entry, if_range: str | None) -> None:
    told = {None: None, "plain": entry.etag, "gzip": tag(entry, "gzip")}[if_range]
    fields = RequestFields(range="bytes=0-9", if_range=told, accept_encoding="gzip, zstd, br")
    answer = answer_from(entry, fields)
    headers = dict(answer.headers)
    assert "content-encoding" not in headers
    assert headers["etag"] == entry.etag
    assert answer.status == (200 if if_range == "gzip" else 206)


def test_a_client_that_has_the_compressed_form_gets_the_part_it_asks_for(entry: Entry) -> None:
    fields = RequestFields(
        if_none_match=tag(entry, "gzip"), range="bytes=0-9", accept_encoding="gzip"
    )
    assert answer_from(entry, fields).status == 206


def test_what_is_small_or_packed_already_has_no_other_forms() -> None:
    for content_type, body in (("text/css", BODY[:1023]), ("image/png", BODY)):
        entry = Entry(hashlib.sha256(body).hexdigest(), body, (("content-type", content_type),))
        assert lacking(entry, "gzip") is None
        answer = answer_from(entry, RequestFields(accept_encoding="gzip"))
        assert answer is entry.whole
        assert "vary" not in dict(answer.headers)


def test_the_same_answer_is_the_same_object(entry: Entry) -> None:
    for fields in (
        RequestFields(),
        RequestFields(accept_encoding="gzip"),
        RequestFields(if_none_match=entry.etag),
    ):
        assert answer_from(entry, fields) is answer_from(entry, fields)
