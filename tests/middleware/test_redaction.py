import dataclasses
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.redaction import MASK, MAX_DEPTH, MAX_ITEMS, MAX_TEXT, Redactor, redact

# Without characters that JSON escapes: an escaped secret is not found by looking for it.
secrets = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._~+/=!ü", min_size=8, max_size=40)
texts = st.text(max_size=20)


def _structures_with(secret: str) -> st.SearchStrategy[object]:
    holding = st.builds(lambda a, b: a + secret + b, texts, texts) | st.just(secret)
    leaves = holding | texts | st.integers() | st.booleans() | st.none() | holding.map(str.encode)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(holding | texts, inner),
        max_leaves=8,
    )


def _line(redactor: Redactor, **fields: object) -> str:
    return orjson.dumps(redactor(None, "info", dict(fields))).decode()


def _clean(value: object, name: str = "value") -> Any:
    return redact(None, "info", {name: value})[name]


@given(secrets.flatmap(lambda s: st.tuples(st.just(s), _structures_with(s), _structures_with(s))))
def test_a_configured_secret_never_reaches_the_line(drawn: tuple[str, object, object]) -> None:
    secret, first, second = drawn
    line = _line(Redactor(lambda: frozenset({secret})), event=first, value=second)
    assert secret not in line


@given(secrets, secrets)
def test_of_two_secrets_neither_leaves_a_tail(one: str, other: str) -> None:
    redactor = Redactor(lambda: frozenset({one, one + other}))
    line = _line(redactor, value=f"<{one + other}>")
    assert line == f'{{"value":"<{MASK}>"}}'


def test_a_secret_of_digits_does_not_pass_as_a_number() -> None:
    redactor = Redactor(lambda: frozenset({"31415926"}))
    assert _line(redactor, a=31415926, b=131415926.5, c=7) == '{"a":"***","b":"***","c":7}'


def test_a_secret_in_a_name_or_percent_encoded_is_found() -> None:
    redactor = Redactor(lambda: frozenset({"p@ss/word"}))
    line = _line(redactor, value={"the p@ss/word": 1}, address="/x/p%40ss%2Fword")
    assert line == '{"value":{"the ***":1},"address":"/x/***"}'


def test_a_reload_brings_its_secrets() -> None:
    known: frozenset[str] = frozenset()
    redactor = Redactor(lambda: known)
    assert "sesame-sesame" in _line(redactor, value="sesame-sesame")
    known = frozenset({"sesame-sesame"})
    assert "sesame-sesame" not in _line(redactor, value="sesame-sesame")
    known = frozenset({"open-sesame"})
    assert "open-sesame" not in _line(redactor, value="open-sesame")


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Cookie",
        "set-cookie",
        "x-gateway-key",
        "service_token",
        "apiKey",
        "ciphertext_b64",
        "bodyB64",
        "config",
        "secret_envelope",
        "user_email",
        "PASSWORD",
    ],
)
def test_a_sensitive_name_hides_whatever_it_holds(name: str) -> None:
    for held in ("text", 7, b"bytes", ["list"], {"a": "mapping"}):
        assert _clean(held, name) == MASK
        assert _clean({"inner": {name: held}}) == {"inner": {name: MASK}}


@pytest.mark.parametrize(
    "name", ["event", "route", "generation", "monkey", "keepalive_s", "took_ms"]
)
def test_an_ordinary_name_hides_nothing(name: str) -> None:
    assert _clean("text", name) == "text"


@pytest.mark.parametrize("held", [None, True, False])
def test_whether_something_is_set_may_be_told(held: bool | None) -> None:
    assert _clean(held, "token") is held


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("got Authorization: Bearer abc.def-ghi, sorry", "got Authorization: Bearer ***, sorry"),
        ("basic dXNlcjpwYXNz", "basic ***"),
        ("http://user:pass@host/x", "http://***@host/x"),
        ("postgres://u:p:q@db", "postgres://***@db"),
        ("https://s3/x?X-Amz-Signature=abc&b=c#f", "https://s3/x?X-Amz-Signature=***&b=***#f"),
        ("/runner?sig=abc done", "/runner?sig=*** done"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt *** end"),
        ("nothing to see: a=b, mail@example", "nothing to see: a=b, mail@example"),
        ("http://host:80/a", "http://host:80/a"),
    ],
)
def test_credentials_inside_text_are_masked(text: str, expected: str) -> None:
    assert _clean(text) == expected


def test_bytes_are_told_by_their_length() -> None:
    assert _clean([b"12345", bytearray(2)]) == ["<5 bytes>", "<2 bytes>"]


def test_long_text_is_cut_and_says_how_long_it_was() -> None:
    assert _clean("a b" * MAX_TEXT) == ("a b" * MAX_TEXT)[:MAX_TEXT] + "...<6144 characters>"
    assert len(_clean("x" * 10_000_000)) < MAX_TEXT + 40


def test_a_long_or_deep_structure_is_cut() -> None:
    assert len(_clean(list(range(1000)))) == MAX_ITEMS + 1
    assert len(_clean({str(n): n for n in range(1000)})) == MAX_ITEMS + 1
    deep: list[Any] = []
    deep.append(deep)  # without end
    assert str(_clean(deep)).count("[") == MAX_DEPTH


class _Rude:
    def __str__(self) -> str:
        raise LookupError


@dataclasses.dataclass
class _Holder:
    address: str


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("a/b"), "a/b"),
        (ValueError("at http://u:p@h/"), "at http://***@h/"),
        (_Holder("?sig=1"), "_Holder(address='?sig=***')"),
        (_Rude(), "<_Rude>"),
        ("broken \udcff byte", "broken \\udcff byte"),
        (1 << 70, "<integer of 71 bits>"),
        (-(1 << 63) - 1, "<integer of 64 bits>"),
    ],
)
def test_anything_can_be_rendered_afterwards(value: object, expected: str) -> None:
    assert _clean(value) == expected
    assert orjson.dumps(_clean(value))


def test_what_later_processors_need_is_left_alone() -> None:
    record: Final = object()
    event = {"exc_info": LookupError("later"), "_record": record, "event": "x"}
    assert redact(None, "info", event) == event
