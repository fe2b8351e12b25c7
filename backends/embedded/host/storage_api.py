"""Extensions' stored entries, kept by the host application."""

import base64
import time
from collections.abc import Mapping
from typing import ClassVar, cast

import orjson

from backends.embedded.host.entry_store import (
    MAX_VALUE_BYTES,
    PAGE_BYTES,
    PAGE_ENTRIES,
    Entry,
    EntryMissing,
    EntryStore,
    Owner,
    RevisionConflict,
    StorageDenied,
    StorageError,
    StorageFailed,
)
from backends.embedded.host.host_api import (
    MAX_RESPONSE_BYTES,
    TIMEOUT_S,
    HostAnswer,
    HostApi,
    HostApiFailed,
)
from backends.embedded.host.records import Malformed, Member, json_text, read_record, text, u64

_API = "ext-storage"
_ENCODING = "base64-bytes"
_BESIDE_VALUE_BYTES = 8 * 1024
"""What an entry's JSON may take beside its value: names, and 4 KiB of metadata."""

ENTRIES_PER_ANSWER = MAX_RESPONSE_BYTES // (MAX_VALUE_BYTES + _BESIDE_VALUE_BYTES)
"""As many as always fit into one answer, however large each of them is."""

_REVISION = Member("revision", u64)
_KEY = Member("key", text)
_ERRORS: Mapping[int, type[StorageError]] = {
    401: StorageDenied,
    403: StorageDenied,
    404: EntryMissing,
    409: RevisionConflict,
    429: StorageDenied,
}

_Json = dict[str, object]


class StorageApi:
    """An EntryStore at the host application, which knows an owner by the install alone.

    The application has bounds of its own besides ours; its bound on values counts the base64
    text. Other writers may have put any JSON into an entry: a guest reads it as bytes.
    """

    max_timeout_s: ClassVar[float] = TIMEOUT_S

    def __init__(self, host_api: HostApi) -> None:
        self._host_api = host_api

    def get(self, owner: Owner, namespace: str, key: str, *, timeout_s: float) -> Entry:
        """See EntryStore."""
        found = self._ask(owner, "get", {"namespace": namespace, "key": key}, timeout_s)
        return _read_entry(namespace, {**found, "key": key})

    def put(
        self,
        owner: Owner,
        namespace: str,
        key: str,
        value: bytes,
        *,
        revision: int | None,
        timeout_s: float,
    ) -> Entry:
        """See EntryStore."""
        wanted: _Json = {
            "namespace": namespace,
            "key": key,
            "value": base64.b64encode(value).decode(),
            "metadata": {"encoding": _ENCODING},
        }
        if revision is not None:
            wanted["ifRevision"] = revision
        written = self._ask(owner, "put", wanted, timeout_s)
        return Entry(namespace, key, value, _read_revision(written))

    def delete(self, owner: Owner, namespace: str, key: str, *, timeout_s: float) -> bool:
        """See EntryStore."""
        said = self._ask(owner, "delete", {"namespace": namespace, "key": key}, timeout_s)
        return said.get("success") is not False

    def list_page(
        self, owner: Owner, namespace: str, after: str | None, *, timeout_s: float
    ) -> list[Entry]:
        """See EntryStore; the order is the application's."""
        give_up = time.monotonic() + timeout_s
        wanted: _Json = {
            "namespace": namespace,
            "limit": ENTRIES_PER_ANSWER,
            "includeValues": True,
            "includeMetadata": True,
        }
        if after:
            wanted["cursor"] = _cursor_after(after)
        page: list[Entry] = []
        size = 0
        while True:
            answer = self._ask(owner, "list", wanted, give_up - time.monotonic())
            entries = _read_entries(namespace, answer)
            for entry in entries:
                page.append(entry)
                size += len(entry.value)
                if len(page) == PAGE_ENTRIES or size >= PAGE_BYTES:
                    return page
            following = answer.get("nextCursor")
            if not (entries and following and isinstance(following, str)):
                return page
            wanted["cursor"] = _resume(following, page[-1].key)

    def _ask(
        self, owner: Owner, operation: str, wanted: Mapping[str, object], timeout_s: float
    ) -> _Json:
        """The document of a success, empty if there is none. Raises a StorageError."""
        body = {"operation": operation, **wanted}
        try:
            answer = self._host_api.ask(_API, owner.install_id, body, timeout_s=timeout_s)
        except HostApiFailed as failure:
            raise StorageFailed(str(failure)) from failure
        if not answer.is_success:
            raise _error_for(answer)
        return answer.members


def _error_for(answer: HostAnswer) -> StorageError:
    if answer.status == 400 and answer.members.get("code") == "LIMIT_EXCEEDED":
        return StorageDenied()  # a bound, as 429 is; else a 400 is our own mistake
    return _ERRORS.get(answer.status, StorageFailed)(f"http {answer.status}")


def _read_entries(namespace: str, answer: _Json) -> list[Entry]:
    items = answer.get("items")
    if not isinstance(items, list):
        raise StorageFailed("invalid response")
    return [_read_entry(namespace, item) for item in items]


def _read_entry(namespace: str, document: object) -> Entry:
    try:
        read = read_record(document, (_KEY, _REVISION))
        value = _read_value(cast(_Json, document))
    except Malformed:
        raise StorageFailed("invalid response") from None
    return Entry(namespace, cast(str, read["key"]), value, cast(int, read["revision"]))


def _read_revision(document: _Json) -> int:
    try:
        return cast(int, read_record(document, (_REVISION,))["revision"])
    except Malformed:
        raise StorageFailed("invalid response") from None


def _read_value(document: _Json) -> bytes:
    """The bytes that a guest wrote, or those of whatever JSON another writer left."""
    if "value" not in document:
        raise Malformed
    value, metadata = document["value"], document.get("metadata")
    if isinstance(metadata, dict) and metadata.get("encoding") == _ENCODING:
        return _from_base64(text(value))
    if isinstance(value, dict) and "_bytes_b64" in value:
        return _from_base64(text(value["_bytes_b64"]))
    if not isinstance(value, str):
        return json_text(value).encode()
    try:
        return _from_base64(value)
    except Malformed:
        return value.encode()


def _from_base64(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Malformed from None


def _cursor_after(key: str) -> str:
    """The application's own cursor for "after `key`", so that a guest's cursor is a key."""
    return base64.urlsafe_b64encode(orjson.dumps({"key": key})).rstrip(b"=").decode()


def _resume(following: str, last_key: str) -> str:
    """Where the next request begins.

    The reference application's cursor names the first entry that is still to come, and is
    understood as "after that one": whoever follows it loses an entry at every turn. A cursor
    of any other form is followed as it is.
    """
    return _cursor_after(last_key) if _names_a_key(following) else following


def _names_a_key(cursor: str) -> bool:
    try:
        said = orjson.loads(base64.urlsafe_b64decode(cursor + "=="))
    except ValueError:
        return False
    return isinstance(said, dict) and isinstance(said.get("key"), str)


_guard: type[EntryStore] = StorageApi
