"""Entries at the host application: what is asked, and what each of its answers becomes."""

import asyncio
import base64

import orjson
import pytest
from structlog.testing import capture_logs

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.entry_store import MAX_VALUE_BYTES, PAGE_ENTRIES
from backends.embedded.host.host_api import MAX_RESPONSE_BYTES, TIMEOUT_S
from backends.embedded.host.services import HostServices
from backends.embedded.host.storage_api import ENTRIES_PER_ANSWER
from tests.backends.embedded.host.calls import ask, call_of
from tests.fakes.host_app import HostApp
from tests.fakes.host_storage import MAX_NAMESPACES, Row

BYTES = {"encoding": "base64-bytes"}


def entry(key: str, value: bytes, revision: int | None = None) -> dict[str, object]:
    return {"namespace": "n", "key": key, "value": value, "revision": revision}


async def every_answer(call: Call) -> list[object]:
    return [
        await ask(call, "storage", "get", "n", "k"),
        await ask(call, "storage", "put", entry("k", b"v")),
        await ask(call, "storage", "delete", "n", "k"),
        await ask(call, "storage", "list-entries", "n", None),
    ]


async def test_each_operation_is_posted_for_the_install_and_names_what_it_needs(
    services: HostServices, host_app: HostApp
) -> None:
    call = call_of(services)
    await ask(call, "storage", "put", entry("k", b"\x00\xff", 7))
    await every_answer(call)
    assert {(seen.method, seen.raw_path) for seen in host_app.seen} == {
        ("POST", "/api/internal/ext-storage/install/install-1")
    }
    assert {seen.headers["x-runner-auth"] for seen in host_app.seen} == {"runner-token"}
    name = {"namespace": "n", "key": "k"}
    assert [orjson.loads(seen.body) for seen in host_app.seen] == [
        {"operation": "put", **name, "value": "AP8=", "metadata": BYTES, "ifRevision": 7},
        {"operation": "get", **name},
        {"operation": "put", **name, "value": "dg==", "metadata": BYTES},
        {"operation": "delete", **name},
        {
            "operation": "list",
            "namespace": "n",
            "limit": ENTRIES_PER_ANSWER,
            "includeValues": True,
            "includeMetadata": True,
        },
    ]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "VALIDATION_FAILED", "internal"),
        (400, "LIMIT_EXCEEDED", "denied"),
        (401, "UNAUTHORIZED", "denied"),
        (403, "NAMESPACE_DENIED", "denied"),
        (404, "NOT_FOUND", "missing"),
        (409, "REVISION_MISMATCH", "conflict"),
        (429, "QUOTA_EXCEEDED", "denied"),
        (429, "RATE_LIMITED", "denied"),
        (500, "INTERNAL_ERROR", "internal"),
        (501, "EE_REQUIRED", "internal"),
        (307, None, "internal"),
    ],
)
async def test_a_status_becomes_the_guests_error(
    services: HostServices, host_app: HostApp, status: int, code: str | None, error: str
) -> None:
    host_app.says(status, {"error": "secret words", "code": code, "details": None})
    assert await every_answer(call_of(services)) == [Err(error)] * 4


@pytest.mark.parametrize("said", [None, [], {}, {"items": [{}]}, {"revision": "1", "items": {}}])
async def test_a_success_of_another_shape_is_internal(
    services: HostServices, host_app: HostApp, said: object
) -> None:
    host_app.says(200, said)
    got, written, removed, listed = await every_answer(call_of(services))
    assert [got, written, listed] == [Err("internal")] * 3
    assert removed == Ok(None)  # it says not that there was none


@pytest.mark.parametrize("revision", [None, -1, 1.5, True, "1"])
async def test_a_revision_that_is_none_is_internal(
    services: HostServices, host_app: HostApp, revision: object
) -> None:
    host_app.says(200, {"key": "k", "value": "dg==", "metadata": BYTES, "revision": revision})
    assert (await every_answer(call_of(services)))[:2] == [Err("internal")] * 2


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (Row("AP8=", BYTES), b"\x00\xff"),
        (Row({"_bytes_b64": "AP8="}), b"\x00\xff"),
        (Row("AP8="), b"\x00\xff"),
        (Row("", BYTES), b""),
        (Row("gr\u00fc\u00df dich"), "gr\u00fc\u00df dich".encode()),
        (Row({"a": [1, None]}), b'{"a":[1,null]}'),
        (Row(None), b"null"),
    ],
)
async def test_what_another_writer_left_is_read_as_bytes(
    services: HostServices, host_app: HostApp, row: Row, value: bytes
) -> None:
    assert host_app.storage is not None
    host_app.storage.installs["install-1"] = {"n": {"k": row}}
    read = Ok(entry("k", value, 1))
    call = call_of(services)
    assert await ask(call, "storage", "get", "n", "k") == read
    assert await ask(call, "storage", "list-entries", "n", None) == Ok([read.value])


@pytest.mark.parametrize("row", [Row("!", BYTES), Row({}, BYTES), Row({"_bytes_b64": 1})])
async def test_bytes_that_are_none_are_internal(
    services: HostServices, host_app: HostApp, row: Row
) -> None:
    assert host_app.storage is not None
    host_app.storage.installs["install-1"] = {"n": {"k": row}}
    call = call_of(services)
    assert await ask(call, "storage", "get", "n", "k") == Err("internal")
    assert await ask(call, "storage", "list-entries", "n", None) == Err("internal")


async def test_the_largest_entries_come_in_answers_that_are_not_too_large(
    services: HostServices, host_app: HostApp
) -> None:
    assert host_app.storage is not None
    names = [f"{number:02}" + "\U0001f600" * 254 for number in range(2 * ENTRIES_PER_ANSWER)]
    largest = Row("A" * (MAX_VALUE_BYTES - 4), {**BYTES, "note": "x" * 4000})
    host_app.storage.installs["install-1"] = {"n": dict.fromkeys(names, largest)}
    seen: list[str] = []
    while True:
        cursor = seen[-1] if seen else None
        page = await ask(call_of(services), "storage", "list-entries", "n", cursor)
        assert isinstance(page, Ok)
        assert isinstance(page.value, list)
        if not page.value:
            break
        seen += [each["key"] for each in page.value]
    assert seen == names


async def test_a_cursor_of_an_unknown_form_is_followed_as_it_is(
    services: HostServices, host_app: HostApp
) -> None:
    item = {"key": "k", "value": "dg==", "metadata": BYTES, "revision": 1}
    host_app.says(200, {"items": [item], "nextCursor": "page 2"})
    listed = await ask(call_of(services), "storage", "list-entries", "n", None)
    assert listed == Ok([entry("k", b"v", 1)] * PAGE_ENTRIES)
    first, *others = [orjson.loads(seen.body).get("cursor") for seen in host_app.seen]
    assert first is None
    assert set(others) == {"page 2"}


@pytest.mark.parametrize("cursor", [None, "", 3])
async def test_a_page_without_another_behind_it_is_the_last(
    services: HostServices, host_app: HostApp, cursor: object
) -> None:
    host_app.says(200, {"items": [], "nextCursor": cursor})
    assert await ask(call_of(services), "storage", "list-entries", "n", None) == Ok([])
    assert len(host_app.seen) == 1


async def test_the_applications_own_bounds_are_denials(
    services: HostServices, host_app: HostApp
) -> None:
    call = call_of(services)
    fits = MAX_VALUE_BYTES // 4 * 3 - 3  # its bound counts the text with its quotation marks
    assert isinstance(await ask(call, "storage", "put", entry("k", bytes(fits))), Ok)
    assert await ask(call, "storage", "put", entry("k", bytes(fits + 1))) == Err("denied")
    for number in range(1, MAX_NAMESPACES):
        await ask(call, "storage", "put", {**entry("k", b""), "namespace": str(number)})
    assert await ask(call, "storage", "put", {**entry("k", b""), "namespace": "-"}) == Err("denied")


async def test_what_breaks_a_rule_here_is_never_sent(
    services: HostServices, host_app: HostApp
) -> None:
    await ask(call_of(services), "storage", "put", entry("k", bytes(MAX_VALUE_BYTES + 1)))
    await ask(call_of(services), "storage", "put", entry("a/b", b""))
    await every_answer(call_of(services, granted=frozenset()))
    await every_answer(call_of(services, install_id=""))
    assert host_app.seen == []


async def test_a_silent_application_costs_no_more_than_the_calls_time(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.may_answer.clear()
    late = call_of(services, within_s=0.2)
    assert await ask(late, "storage", "get", "n", "k") == Err("internal")


async def test_all_requests_for_one_page_have_the_calls_time_together(
    services: HostServices, host_app: HostApp
) -> None:
    item = {"key": "k", "value": "dg==", "metadata": BYTES, "revision": 1}
    host_app.says(200, {"items": [item], "nextCursor": "page 2"})
    host_app.may_answer.clear()
    call = call_of(services, within_s=0.5)
    listing = asyncio.create_task(ask(call, "storage", "list-entries", "n", None))
    await host_app.asked.get()
    host_app.may_answer.set()
    host_app.may_answer.clear()  # only the request that waits is let through
    await host_app.asked.get()
    async with asyncio.timeout(TIMEOUT_S / 2):
        assert await listing == Err("internal")


async def test_an_answer_that_is_too_large_or_no_json_is_internal(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.says(200, {"items": [], "more": "x" * MAX_RESPONSE_BYTES})
    assert await every_answer(call_of(services)) == [Err("internal")] * 4
    host_app.body = b"<html>"
    assert await every_answer(call_of(services)) == [Err("internal")] * 4


async def test_neither_token_nor_value_is_printed_or_logged(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.says(500, {"error": "s3cret", "token": "s3cret"})
    with capture_logs() as logs:
        await ask(call_of(services), "storage", "put", entry("k", b"s3cret"))
        host_app.says(200, {"value": "!s3cret", "metadata": BYTES, "revision": 1})
        await every_answer(call_of(services))
    shown = repr(logs) + repr(services)
    for secret in ("s3cret", base64.b64encode(b"s3cret").decode(), "runner-token"):
        assert secret not in shown
