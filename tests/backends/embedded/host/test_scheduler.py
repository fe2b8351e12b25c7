"""scheduler.*: what is asked of the application, and what becomes of its answers."""

import orjson
import pytest
import structlog.testing

from backends.embedded.host.call import Err, Ok
from backends.embedded.host.services import HostServices
from tests.backends.embedded.host.calls import ask, call_of
from tests.fakes.host_app import HostApp

ROW = {
    "id": "s1", "endpointPath": "/sync", "endpointMethod": "POST", "name": "Nightly",
    "cron": "0 2 * * *", "timezone": "UTC", "enabled": True, "payload": {"a": 1},
    "lastRunAt": "2026-01-01T02:00:00Z", "lastRunStatus": None,
}  # fmt: skip
SCHEDULE = {
    "id": "s1", "endpoint-path": "/sync", "endpoint-method": "POST", "name": "Nightly",
    "cron": "0 2 * * *", "timezone": "UTC", "enabled": True, "payload": '{"a":1}',
    "last-run-at": "2026-01-01T02:00:00Z", "last-run-status": None, "last-error": None,
    "created-at": None,
}  # fmt: skip
ENDPOINT = {"id": "e1", "method": "POST", "path": "/sync", "handler": "h", "schedulable": True}

CREATE = {
    "endpoint": "POST /sync", "cron": "0 2 * * *", "timezone": None, "enabled": False,
    "name": None, "payload": None,
}  # fmt: skip
UPDATE = dict.fromkeys(("endpoint", "cron", "timezone", "enabled", "name", "payload"))

BAD_PAYLOAD = "Payload must be valid JSON object or array"


def asked_of(host_app: HostApp) -> object:
    return orjson.loads(host_app.seen[-1].body)


async def test_schedules_and_endpoints_are_listed(
    services: HostServices, host_app: HostApp
) -> None:
    call = call_of(services)
    host_app.body = orjson.dumps({"schedules": [ROW]})
    assert await ask(call, "scheduler", "list-schedules") == Ok([SCHEDULE])
    assert asked_of(host_app) == {"operation": "list"}
    assert host_app.seen[-1].raw_path == "/api/internal/ext-scheduler/install/install-1"

    host_app.body = orjson.dumps({"endpoints": [ENDPOINT]})
    assert await ask(call, "scheduler", "get-endpoints") == Ok([ENDPOINT])
    assert asked_of(host_app) == {"operation": "getEndpoints"}


async def test_a_row_in_snake_case_is_understood(services: HostServices, host_app: HostApp) -> None:
    row = {**ROW, "endpoint_path": "/sync", "endpoint_method": "POST"}
    del row["endpointPath"], row["endpointMethod"]
    host_app.body = orjson.dumps({"schedules": [row]})
    assert await ask(call_of(services), "scheduler", "list-schedules") == Ok([SCHEDULE])


async def test_a_malformed_row_is_left_out_and_reported(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = orjson.dumps({"schedules": [{**ROW, "cron": None}, ROW, "secret"]})
    with structlog.testing.capture_logs() as lines:
        answer = await ask(call_of(services), "scheduler", "list-schedules")
    assert answer == Ok([SCHEDULE])
    assert [(line["event"], line["dropped"]) for line in lines] == [("host_api_rows_dropped", 2)]
    assert "secret" not in str(lines)


async def test_one_schedule_or_none(services: HostServices, host_app: HostApp) -> None:
    call = call_of(services)
    host_app.body = orjson.dumps({"schedule": ROW})
    assert await ask(call, "scheduler", "get-schedule", "s1") == Ok(SCHEDULE)
    assert asked_of(host_app) == {"operation": "get", "scheduleId": "s1"}
    host_app.body = b'{"schedule": null}'
    assert await ask(call, "scheduler", "get-schedule", "s1") == Ok(None)
    host_app.body = b'{"schedule": {"id": 1}}'
    assert await ask(call, "scheduler", "get-schedule", "s1") == Err("internal")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"schedules": {}}', b"{}"])
async def test_a_list_of_another_shape_is_internal(
    services: HostServices, host_app: HostApp, body: bytes
) -> None:
    host_app.body = body
    assert await ask(call_of(services), "scheduler", "list-schedules") == Err("internal")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, "denied"), (403, "denied"), (404, "not-found"), (400, "validation-failed"),
        (429, "quota-exceeded"), (500, "internal"), (501, "internal"),
    ],
)  # fmt: skip
async def test_each_status_has_its_error(
    services: HostServices, host_app: HostApp, status: int, error: str
) -> None:
    host_app.status = status
    call = call_of(services)
    assert await ask(call, "scheduler", "list-schedules") == Err(error)
    assert await ask(call, "scheduler", "get-schedule", "s1") == Err(error)
    deleted = await ask(call, "scheduler", "delete-schedule", "s1")
    assert deleted == {"success": False, "error": error}


async def test_a_schedule_is_created_from_what_was_given(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.status, host_app.body = 201, b'{"success": true, "scheduleId": "s9"}'
    created = await ask(
        call_of(services), "scheduler", "create-schedule", {**CREATE, "payload": '{"n": 1.50}'}
    )
    assert created == {
        "success": True, "schedule-id": "s9", "error": None, "field-errors": None,
    }  # fmt: skip
    assert asked_of(host_app) == {
        "operation": "create", "endpoint": "POST /sync", "cron": "0 2 * * *", "enabled": False,
        "payload": {"n": 1.5},
    }  # fmt: skip
    assert b"1.50" in host_app.seen[-1].body  # numbers keep their digits


async def test_a_refused_field_is_named(services: HostServices, host_app: HostApp) -> None:
    host_app.status = 400
    host_app.body = b'{"success": false, "error": "Bad cron", "fieldErrors": {"cron": "no"}}'
    created = await ask(call_of(services), "scheduler", "create-schedule", CREATE)
    assert created == {
        "success": False, "schedule-id": None, "error": "Bad cron",
        "field-errors": '{"cron":"no"}',
    }  # fmt: skip


@pytest.mark.parametrize("payload", ["not json", '"text"', "7", "null", '{"a": '])
async def test_a_payload_must_be_an_object_or_an_array(
    services: HostServices, host_app: HostApp, payload: str
) -> None:
    wrong = {
        "success": False, "error": BAD_PAYLOAD,
        "field-errors": orjson.dumps({"payload": BAD_PAYLOAD}).decode(),
    }  # fmt: skip
    call = call_of(services)
    created = await ask(call, "scheduler", "create-schedule", {**CREATE, "payload": payload})
    updated = await ask(call, "scheduler", "update-schedule", "s1", {**UPDATE, "payload": payload})
    assert created == {**wrong, "schedule-id": None}
    assert updated == wrong
    assert host_app.seen == []


async def test_a_deeply_nested_payload_passes_as_it_is(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = b'{"success": true}'
    payload = "[" * 500 + "]" * 500
    updated = await ask(
        call_of(services), "scheduler", "update-schedule", "s1", {**UPDATE, "payload": payload}
    )
    assert updated == {"success": True, "error": None, "field-errors": None}
    assert payload.encode() in host_app.seen[-1].body


async def test_an_empty_payload_clears_it_on_update_and_is_an_error_on_create(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = b'{"success": true}'
    call = call_of(services)
    await ask(call, "scheduler", "update-schedule", "s1", {**UPDATE, "payload": ""})
    assert asked_of(host_app) == {"operation": "update", "scheduleId": "s1", "payload": None}
    created = await ask(call, "scheduler", "create-schedule", {**CREATE, "payload": ""})
    assert isinstance(created, dict)
    assert created["error"] == BAD_PAYLOAD


async def test_a_schedule_is_deleted(services: HostServices, host_app: HostApp) -> None:
    host_app.body = b'{"success": true}'
    deleted = await ask(call_of(services), "scheduler", "delete-schedule", "s1")
    assert deleted == {"success": True, "error": None}
    assert asked_of(host_app) == {"operation": "delete", "scheduleId": "s1"}


async def test_a_change_whose_outcome_is_unreadable_is_not_a_success(
    services: HostServices, host_app: HostApp
) -> None:
    call = call_of(services)
    host_app.body = b"[]"
    deleted = await ask(call, "scheduler", "delete-schedule", "s1")
    assert deleted == {"success": False, "error": "invalid response"}
    host_app.body = b"<html>"
    deleted = await ask(call, "scheduler", "delete-schedule", "s1")
    assert deleted == {"success": False, "error": "invalid JSON response"}


async def test_without_grant_install_or_application_nothing_is_asked(
    services: HostServices, lonely_services: HostServices, host_app: HostApp
) -> None:
    ungranted = "Permission denied: cap:scheduler.manage not granted"
    for call, error in (
        (call_of(services, granted=frozenset()), ungranted),
        (call_of(services, install_id=None), "Install ID missing"),
        (call_of(services, install_id=""), "Install ID missing"),
        (call_of(lonely_services), "scheduler base URL not configured"),
    ):
        assert await ask(call, "scheduler", "list-schedules") == Err("denied")
        assert await ask(call, "scheduler", "get-schedule", "s1") == Err("denied")
        assert await ask(call, "scheduler", "get-endpoints") == Err("denied")
        refused = {"success": False, "error": error}
        assert await ask(call, "scheduler", "delete-schedule", "s1") == refused
        refused["field-errors"] = None
        assert await ask(call, "scheduler", "update-schedule", "s1", UPDATE) == refused
        created = await ask(call, "scheduler", "create-schedule", CREATE)
        assert created == {**refused, "schedule-id": None}
    assert host_app.seen == []
