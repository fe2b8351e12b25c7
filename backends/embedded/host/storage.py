"""storage.*: entries that outlive a call, kept per install."""

from collections.abc import Callable, Mapping
from typing import cast

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.storage_database import (
    Entry,
    Owner,
    QuotaExceeded,
    RevisionConflict,
    StorageFailed,
)

CAPABILITY = "cap:storage.kv"
MAX_NAMESPACE_CHARACTERS = 128
MAX_KEY_CHARACTERS = 256
TIMEOUT_S = 5.0


def get(call: Call, namespace: str, key: str) -> Ok | Err:
    """The storage-entry. Errors: denied, missing, internal (also a malformed name)."""
    return _as_owner(call, namespace, key, lambda owner: _get(call, owner, namespace, key))


def put(call: Call, entry: Mapping[str, object]) -> Ok | Err:
    """Write a storage-entry and return it with its new revision.

    With a revision, only if the entry is still at it. Errors: denied (also a quota),
    conflict, internal (also a malformed name).
    """
    namespace, key = cast(str, entry["namespace"]), cast(str, entry["key"])

    def write(owner: Owner) -> Ok | Err:
        try:
            written = call.services.storage.put(
                owner,
                namespace,
                key,
                cast(bytes, entry["value"]),
                revision=cast(int | None, entry["revision"]),
                timeout_s=call.remaining_s(TIMEOUT_S),
            )
        except RevisionConflict:
            return Err("conflict")
        except QuotaExceeded:
            return Err("denied")
        return Ok(_to_record(written))

    return _as_owner(call, namespace, key, write)


def delete(call: Call, namespace: str, key: str) -> Ok | Err:
    """Remove an entry. Errors: denied, conflict (there is none), internal."""

    def remove(owner: Owner) -> Ok | Err:
        timeout_s = call.remaining_s(TIMEOUT_S)
        removed = call.services.storage.delete(owner, namespace, key, timeout_s=timeout_s)
        return Ok() if removed else Err("conflict")

    return _as_owner(call, namespace, key, remove)


def list_entries(call: Call, namespace: str, cursor: str | None) -> Ok | Err:
    """One page of storage-entry records in the order of their keys.

    The cursor is the last key of the page before; a guest has seen everything when a page
    comes back empty. Errors: denied, internal.
    """

    def read_page(owner: Owner) -> Ok | Err:
        timeout_s = call.remaining_s(TIMEOUT_S)
        page = call.services.storage.list_page(owner, namespace, cursor, timeout_s=timeout_s)
        return Ok([_to_record(entry) for entry in page])

    return _as_owner(call, namespace, None, read_page)


def _get(call: Call, owner: Owner, namespace: str, key: str) -> Ok | Err:
    timeout_s = call.remaining_s(TIMEOUT_S)
    entry = call.services.storage.get(owner, namespace, key, timeout_s=timeout_s)
    return Err("missing") if entry is None else Ok(_to_record(entry))


def _as_owner(
    call: Call, namespace: str, key: str | None, work: Callable[[Owner], Ok | Err]
) -> Ok | Err:
    """Do `work` in the name of the call's install; a `key` of None is not looked at."""
    context = call.request.context
    if not call.may(CAPABILITY) or not context.install_id:
        return Err("denied")
    if not 1 <= len(namespace) <= MAX_NAMESPACE_CHARACTERS:
        return Err("internal")
    if key is not None and (not 1 <= len(key) <= MAX_KEY_CHARACTERS or "/" in key):
        return Err("internal")
    try:
        return work(Owner(context.tenant_id, context.install_id))
    except StorageFailed:
        return Err("internal")


def _to_record(entry: Entry) -> dict[str, object]:
    return {
        "namespace": entry.namespace,
        "key": entry.key,
        "value": entry.value,
        "revision": entry.revision,
    }
