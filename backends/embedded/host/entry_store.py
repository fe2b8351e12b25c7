"""The port to whatever keeps extensions' entries: its promises, its bounds, its errors."""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

MAX_VALUE_BYTES = 64 * 1024
PAGE_ENTRIES = 100
PAGE_BYTES = 1024 * 1024
"""A page ends here too: a hundred large values would not fit through the guest's door."""


class StorageError(Exception):
    """An operation that was not done; `tag` is the guest's word for it."""

    tag: ClassVar[str]


class StorageFailed(StorageError):
    """The store did not answer in time, is closed, or reports a fault.

    The message is for the log: of a closed set, without a byte of what is stored.
    """

    tag = "internal"


class StorageDenied(StorageError):
    """The write would pass a bound, or the store lets this install do nothing."""

    tag = "denied"


class RevisionConflict(StorageError):
    """The entry is not at the revision that the writer saw."""

    tag = "conflict"


class EntryMissing(StorageError):
    """There is no such entry."""

    tag = "missing"


@dataclass(frozen=True, slots=True)
class Owner:
    tenant_id: str
    install_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    namespace: str
    key: str
    value: bytes = field(repr=False)
    revision: int


class EntryStore(Protocol):
    """Entries by owner, namespace and key, with optimistic concurrency.

    No owner reaches another's entries. Calls block, for `timeout_s` at most: they are for
    worker threads, never for the event loop. Each of them may raise any StorageError.
    """

    max_timeout_s: ClassVar[float]
    """How long one call may take, however much time its caller has."""

    def get(self, owner: Owner, namespace: str, key: str, *, timeout_s: float) -> Entry:
        """The entry. Raises EntryMissing."""
        ...

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
        """Write the entry if it is at `revision` (None: in any case), and return it.

        Raises:
            RevisionConflict: it is absent or at another revision.
            StorageDenied: a bound; nothing was written.
        """
        ...

    def delete(self, owner: Owner, namespace: str, key: str, *, timeout_s: float) -> bool:
        """Remove the entry; False when there was none."""
        ...

    def list_page(
        self, owner: Owner, namespace: str, after: str | None, *, timeout_s: float
    ) -> list[Entry]:
        """Entries in the store's order of keys, those after the key `after`.

        At most PAGE_ENTRIES of them, and no further one once they hold PAGE_BYTES; only an
        empty page says that nothing is left.
        """
        ...
