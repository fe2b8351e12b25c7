"""scheduler.*: recurring calls of the extension's endpoints, kept by the host application."""

from collections.abc import Mapping

import orjson
import structlog

from backends.embedded.host.asking import ask, may_ask
from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.host_api import HostAnswer, HostApiFailed
from backends.embedded.host.records import (
    Malformed,
    Member,
    flag,
    json_text,
    read_record,
    refusal,
    text,
    to_json,
)

CAPABILITY = "cap:scheduler.manage"

_BAD_PAYLOAD = "Payload must be valid JSON object or array"

_SCHEDULE = (
    Member("id", text),
    Member("endpoint-path", text),
    Member("endpoint-method", text),
    Member("name", text, optional=True),
    Member("cron", text),
    Member("timezone", text),
    Member("enabled", flag),
    Member("payload", json_text, optional=True),
    Member("last-run-at", text, optional=True),
    Member("last-run-status", text, optional=True),
    Member("last-error", text, optional=True),
    Member("created-at", text, optional=True),
)
_ENDPOINT = (
    Member("id", text),
    Member("method", text),
    Member("path", text),
    Member("handler", text),
    Member("schedulable", flag),
)
DELETED = (Member("success", flag), Member("error", text, optional=True))
UPDATED = (*DELETED, Member("field-errors", json_text, optional=True))
CREATED = (*UPDATED, Member("schedule-id", text, optional=True))

_log = structlog.get_logger(__name__)


def list_schedules(call: Call) -> Ok | Err:
    """Every schedule-info of this install. Errors: denied, quota-exceeded, internal, and so on."""
    return _read_many(call, "list", "schedules", _SCHEDULE)


def get_endpoints(call: Call) -> Ok | Err:
    """Every endpoint-info of this install. Errors as for list_schedules."""
    return _read_many(call, "getEndpoints", "endpoints", _ENDPOINT)


def get_schedule(call: Call, schedule_id: str) -> Ok | Err:
    """One schedule-info or none. Errors as for list_schedules."""
    if not may_ask(call, CAPABILITY):
        return Err("denied")
    try:
        answer = ask(call, "ext-scheduler", {"operation": "get", "scheduleId": schedule_id})
        if not answer.is_success:
            return Err(_error_for(answer.status))
        schedule = _member(answer, "schedule")
        return Ok(None if schedule is None else read_record(schedule, _SCHEDULE))
    except (HostApiFailed, Malformed):
        return Err("internal")


def create_schedule(call: Call, wanted: Mapping[str, object]) -> dict[str, object]:
    """Plan a call; `payload` is JSON as text. Answers a create-schedule-result."""
    return _change(call, "create", wanted, CREATED)


def update_schedule(
    call: Call, schedule_id: str, wanted: Mapping[str, object]
) -> dict[str, object]:
    """Change what `wanted` names; an empty `payload` clears it.

    Answers an update-schedule-result.
    """
    return _change(call, "update", {"schedule-id": schedule_id, **wanted}, UPDATED)


def delete_schedule(call: Call, schedule_id: str) -> dict[str, object]:
    """Forget a schedule. Answers a delete-schedule-result."""
    return _change(call, "delete", {"schedule-id": schedule_id}, DELETED)


def _read_many(call: Call, operation: str, member: str, shape: tuple[Member, ...]) -> Ok | Err:
    if not may_ask(call, CAPABILITY):
        return Err("denied")
    try:
        answer = ask(call, "ext-scheduler", {"operation": operation})
        if not answer.is_success:
            return Err(_error_for(answer.status))
        rows = _member(answer, member)
    except (HostApiFailed, Malformed):
        return Err("internal")
    if not isinstance(rows, list):
        return Err("internal")
    return Ok(_readable(call, member, rows, shape))


def _readable(
    call: Call, member: str, rows: list[object], shape: tuple[Member, ...]
) -> list[dict[str, object]]:
    """The well-formed rows: one bad row must not hide a tenant's other schedules."""
    readable = []
    for row in rows:
        try:
            readable.append(read_record(row, shape))
        except Malformed:
            continue
    if len(readable) < len(rows):
        _log.warning(
            "host_api_rows_dropped",
            request_id=call.request.request_id,
            rows=member,
            dropped=len(rows) - len(readable),
        )
    return readable


def _change(
    call: Call, operation: str, wanted: Mapping[str, object], shape: tuple[Member, ...]
) -> dict[str, object]:
    if not call.may(CAPABILITY):
        return refusal(shape, f"Permission denied: {CAPABILITY} not granted")
    if not call.request.context.install_id:
        return refusal(shape, "Install ID missing")
    if call.services.host_api is None:
        return refusal(shape, "scheduler base URL not configured")
    body = {"operation": operation, **to_json(wanted)}
    payload = wanted.get("payload")
    if payload is not None:
        try:
            body["payload"] = _decode_payload(str(payload), may_clear=operation == "update")
        except Malformed:
            return refusal(shape, _BAD_PAYLOAD, {"payload": _BAD_PAYLOAD})
    try:
        return _read_change(ask(call, "ext-scheduler", body), shape)
    except HostApiFailed as failure:
        return refusal(shape, str(failure))
    except Malformed:
        return refusal(shape, "invalid response")


def _read_change(answer: HostAnswer, shape: tuple[Member, ...]) -> dict[str, object]:
    """A 400 says which field is wrong, so its document is worth as much as a success's."""
    if answer.is_success:
        return read_record(answer.document, shape)
    said = answer.members
    reason = said.get("error") if answer.status == 400 else None
    fields = said.get("fieldErrors", said.get("field_errors"))
    return refusal(
        shape,
        reason if isinstance(reason, str) else _error_for(answer.status),
        fields if answer.status == 400 else None,
    )


def _decode_payload(payload: str, *, may_clear: bool) -> object:
    if not payload and may_clear:
        return None
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise Malformed from None
    if not isinstance(document, dict | list):
        raise Malformed
    return orjson.Fragment(payload)  # as written: numbers keep their digits


def _member(answer: HostAnswer, name: str) -> object:
    if not isinstance(answer.document, dict):
        raise Malformed
    return answer.document.get(name)


def _error_for(status: int) -> str:
    match status:
        case 401 | 403:
            return "denied"
        case 404:
            return "not-found"
        case 400:
            return "validation-failed"
        case 429:
            return "quota-exceeded"
        case _:
            return "internal"
