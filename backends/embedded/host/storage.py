"""storage.*: entries that outlive a call, kept per install.

The host application keeps them where it is configured, a file of this machine where not.
"""

from collections.abc import Callable, Mapping
from typing import cast

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.entry_store import (
    MAX_VALUE_BYTES,
    Entry,
    Owner,
    StorageDenied,
    StorageError,
    StorageFailed,
)
from backends.embedded.host.guest_log import host_function_failed

CAPABILITY = "cap:storage.kv"
MAX_NAMESPACE_CHARACTERS = 128
MAX_KEY_CHARACTERS = 256

Work = Callable[[Owner, float], Ok | Err]
"""One operation for an owner, within so many seconds; raises StorageError."""


def get(call: Call, namespace: str, key: str) -> Ok | Err:
    """The storage-entry. Errors: denied, missing, internal (also a malformed name)."""

    def read(owner: Owner, timeout_s: float) -> Ok:
        entry = call.services.storage.get(owner, namespace, key, timeout_s=timeout_s)
        return Ok(_to_record(entry))

    return _as_owner(call, namespace, key, read)


def put(call: Call, entry: Mapping[str, object]) -> Ok | Err:
    """Write a storage-entry and return it with its new revision.

    With a revision, only if the entry is still at it. Errors: denied (also a quota),
    conflict, internal (also a malformed name).
    """
    namespace, key = cast(str, entry["namespace"]), cast(str, entry["key"])
    value, revision = cast(bytes, entry["value"]), cast(int | None, entry["revision"])

    def write(owner: Owner, timeout_s: float) -> Ok:
        if len(value) > MAX_VALUE_BYTES:
            raise StorageDenied
        store = call.services.storage
        written = store.put(owner, namespace, key, value, revision=revision, timeout_s=timeout_s)
        return Ok(_to_record(written))

    return _as_owner(call, namespace, key, write)


def delete(call: Call, namespace: str, key: str) -> Ok | Err:
    """Remove an entry. Errors: denied, conflict (there is none), internal."""

    def remove(owner: Owner, timeout_s: float) -> Ok | Err:
        removed = call.services.storage.delete(owner, namespace, key, timeout_s=timeout_s)
        return Ok() if removed else Err("conflict")

    return _as_owner(call, namespace, key, remove)


def list_entries(call: Call, namespace: str, cursor: str | None) -> Ok | Err:
    """One page of storage-entry records in the order of their keys.

    The cursor is the last key of the page before; a guest has seen everything when a page
    comes back empty. Errors: denied, internal.
    """

    def read_page(owner: Owner, timeout_s: float) -> Ok:
        page = call.services.storage.list_page(owner, namespace, cursor, timeout_s=timeout_s)
        return Ok([_to_record(entry) for entry in page])

    return _as_owner(call, namespace, None, read_page)


def _as_owner(call: Call, namespace: str, key: str | None, work: Work) -> Ok | Err:
    """Do `work` in the name of the call's install; a `key` of None is not looked at."""
    context = call.request.context
    if not call.may(CAPABILITY) or not context.install_id:
        return Err("denied")
    if not 1 <= len(namespace) <= MAX_NAMESPACE_CHARACTERS:
        return Err("internal")
    if key is not None and (not 1 <= len(key) <= MAX_KEY_CHARACTERS or "/" in key):
        return Err("internal")
    owner = Owner(context.tenant_id, context.install_id)
    try:
        return work(owner, call.remaining_s(call.services.storage.max_timeout_s))
    except StorageError as error:
        if isinstance(error, StorageFailed):  # which a guest cannot mend
            host_function_failed(call, "storage", str(error))
        return Err(error.tag)


def _to_record(entry: Entry) -> dict[str, object]:
    return {
        "namespace": entry.namespace,
        "key": entry.key,
        "value": entry.value,
        "revision": entry.revision,
    }
