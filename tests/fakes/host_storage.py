"""ext-storage of the host application: its entries, its bounds, its cursors."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Answer = tuple[int, object]
Operation = Callable[[dict[str, "Row"], Mapping[str, Any]], Answer]

MAX_NAMESPACES = 32
MAX_VALUE_BYTES = 64 * 1024
USUAL_PAGE, LARGEST_PAGE = 25, 100


@dataclass
class Row:
    value: object
    metadata: Mapping[str, object] = field(default_factory=dict)
    revision: int = 1

    def document(self, key: str) -> dict[str, object]:
        told = {"value": self.value, "metadata": self.metadata, "revision": self.revision}
        return {"key": key, "ttlExpiresAt": None, **told}


@dataclass
class HostStorage:
    """Answers an operation as the reference application does, a lost entry included.

    Its `nextCursor` is the key of the first entry that it left out, and it takes a cursor to
    mean what comes after.
    """

    token: str
    installs: dict[str, dict[str, dict[str, Row]]] = field(default_factory=dict)
    operations: list[Mapping[str, Any]] = field(default_factory=list)

    def answer(self, install_id: str, token: str | None, body: bytes) -> Answer:
        if token != self.token:
            return _refusal(401, "UNAUTHORIZED")
        said = orjson.loads(body)
        self.operations.append(said)
        namespace, key = said["namespace"], said.get("key", "-")
        if not (1 <= len(namespace) <= 128 and 1 <= len(key) <= 256 and "/" not in key):
            return _refusal(400, "VALIDATION_FAILED")
        namespaces = self.installs.setdefault(install_id, {})
        if namespace not in namespaces and said["operation"] == "put":
            if len(namespaces) == MAX_NAMESPACES:
                return _refusal(429, "QUOTA_EXCEEDED")
            namespaces[namespace] = {}
        return _OPERATIONS[said["operation"]](namespaces.get(namespace, {}), said)


def _refusal(status: int, code: str) -> Answer:
    return status, {"error": "it says no", "code": code, "details": None}


def _get(rows: dict[str, Row], said: Mapping[str, Any]) -> Answer:
    row = rows.get(said["key"])
    return _refusal(404, "NOT_FOUND") if row is None else (200, row.document(said["key"]))


def _put(rows: dict[str, Row], said: Mapping[str, Any]) -> Answer:
    if len(orjson.dumps(said["value"])) > MAX_VALUE_BYTES:
        return _refusal(400, "LIMIT_EXCEEDED")
    old = rows.get(said["key"])
    if "ifRevision" in said and (old is None or old.revision != said["ifRevision"]):
        return _refusal(409, "REVISION_MISMATCH")
    revision = 1 if old is None else old.revision + 1
    rows[said["key"]] = Row(said["value"], said.get("metadata", {}), revision)
    return 200, {"namespace": said["namespace"], "key": said["key"], "revision": revision}


def _delete(rows: dict[str, Row], said: Mapping[str, Any]) -> Answer:
    return 200, {"success": rows.pop(said["key"], None) is not None}


def _list(rows: dict[str, Row], said: Mapping[str, Any]) -> Answer:
    limit = said.get("limit", USUAL_PAGE)
    if not 1 <= limit <= LARGEST_PAGE:
        return _refusal(400, "VALIDATION_FAILED")
    try:
        after = _read_cursor(said["cursor"]) if "cursor" in said else ""
    except ValueError:
        return _refusal(400, "VALIDATION_FAILED")
    keys = sorted(key for key in rows if key > after)
    items = [rows[key].document(key) for key in keys[:limit]]
    cursor = _write_cursor(keys[limit]) if len(keys) > limit else None
    return 200, {"items": items, "nextCursor": cursor}


def _write_cursor(key: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"key": key})).decode().rstrip("=")


def _read_cursor(cursor: str) -> str:
    return str(orjson.loads(base64.urlsafe_b64decode(cursor + "=="))["key"])


_OPERATIONS: Mapping[str, Operation] = {"get": _get, "put": _put, "delete": _delete, "list": _list}
