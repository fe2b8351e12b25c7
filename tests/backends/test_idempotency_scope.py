"""The same word is the same key only in the same mouth, for the same call."""

from dataclasses import replace

import pytest

from backends.contract import ExecuteContext, ExecuteRequest, Limits, User
from backends.idempotency_scope import scoped_key

CONTEXT = ExecuteContext(
    tenant_id="t", extension_id="e", content_hash="sha256:" + "0" * 64, install_id="i"
)
CALL = ExecuteRequest(
    request_id="r-1",
    context=CONTEXT,
    method="POST",
    path="/a",
    limits=Limits(timeout_ms=1),
    timeout_s=1.0,
    idempotency_key="order-1",
)
USER = User(user_id="u", user_email="", user_name="", user_type="")


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, context=replace(CONTEXT, tenant_id="t2")),
        replace(CALL, context=replace(CONTEXT, extension_id="e2")),
        replace(CALL, context=replace(CONTEXT, install_id=None)),
        replace(CALL, user=USER),
        replace(CALL, method="PUT"),
        replace(CALL, path="/b"),
        replace(CALL, idempotency_key="order-2"),
        replace(CALL, idempotency_key="order-\udcff"),
    ],
    ids=["tenant", "extension", "install", "user", "method", "path", "word", "no-text"],
)
def test_whatever_it_belongs_to_makes_another_key(other: ExecuteRequest) -> None:
    assert scoped_key(other) != scoped_key(CALL)


def test_a_repeated_call_has_the_same_key_whatever_id_it_was_given() -> None:
    again = replace(CALL, request_id="r-2", body=b"x")
    assert scoped_key(again) == scoped_key(CALL)
    assert scoped_key(replace(CALL, idempotency_key=None)) is None
