"""Reads lists and single records of the host application, with its user's permissions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from backends.embedded.host.asking import ask, may_ask
from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.host_api import HostAnswer, HostApiFailed
from backends.embedded.host.records import Malformed, Member, read_list, read_record, to_json, u32

DEFAULT_PAGE = 1
DEFAULT_PAGE_SIZE = 25
MAX_PAGE_SIZE = 100

_PAGE = (Member("total-count", u32), Member("page", u32), Member("page-size", u32))


@dataclass(frozen=True, slots=True)
class ReadApi:
    """One readable collection.

    Args:
        api: the path segment, such as "ext-clients".
        capability: what the install needs.
        summary: the members of one record.
    """

    api: str
    capability: str
    summary: tuple[Member, ...]

    def list_page(self, call: Call, wanted: Mapping[str, object]) -> Ok | Err:
        """One page of records that match `wanted`; pages count from 1.

        Errors: not-allowed, invalid-input (also a page below 1 or a size outside 1 to 100),
        internal (also when a single record is malformed).
        """
        if not may_ask(call, self.capability):
            return Err("not-allowed")
        page = _or(DEFAULT_PAGE, wanted["page"])
        size = _or(DEFAULT_PAGE_SIZE, wanted["page-size"])
        if page < 1 or not 1 <= size <= MAX_PAGE_SIZE:
            return Err("invalid-input")
        return self._ask(call, "list", {**wanted, "page": page, "page-size": size})

    def get(self, call: Call, id_name: str, record_id: str) -> Ok | Err:
        """One record, or Ok(None). Errors as for list_page."""
        if not may_ask(call, self.capability):
            return Err("not-allowed")
        return self._ask(call, "get", {id_name: record_id})

    def _ask(self, call: Call, operation: str, wanted: Mapping[str, object]) -> Ok | Err:
        body: dict[str, object] = {"operation": operation, "input": to_json(wanted)}
        user = call.request.user
        if user is not None:
            body["user"] = {"userId": user.user_id, "userType": user.user_type}
        try:
            answer = ask(call, self.api, body)
            if not answer.is_success:
                return Err(_error_for(answer.status))
            return Ok(self._read(operation, answer))
        except (HostApiFailed, Malformed):
            return Err("internal")

    def _read(self, operation: str, answer: HostAnswer) -> object:
        document = answer.document
        if not isinstance(document, dict):
            raise Malformed
        if operation == "list":
            items = read_list(document.get("items"), self.summary)
            return {"items": items, **read_record(document, _PAGE)}
        if "item" not in document:
            raise Malformed
        item = document["item"]
        return None if item is None else read_record(item, self.summary)


def _or(default: int, value: object) -> int:
    return default if value is None else cast(int, value)


def _error_for(status: int) -> str:
    if status in {401, 403}:
        return "not-allowed"
    return "invalid-input" if status == 400 else "internal"
