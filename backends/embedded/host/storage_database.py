"""Extensions' stored entries: one SQLite file, shared by threads and processes of one machine.

Every statement names the owner, a (tenant, install) pair, so no owner can reach another's
entries.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from backends.embedded.host.entry_store import (
    PAGE_BYTES,
    PAGE_ENTRIES,
    Entry,
    EntryMissing,
    EntryStore,
    Owner,
    RevisionConflict,
    StorageDenied,
    StorageFailed,
)
from backends.embedded.host.storage_file import open_storage_file

MAX_NAMESPACES = 32
MAX_KEYS_PER_NAMESPACE = 5120
MAX_OWNER_BYTES = 256 * 1024 * 1024


class StorageDatabase:
    """An EntryStore on this machine's disk.

    A revision is a number that grows with every write of its owner and is never used again,
    so a writer who saw an entry that was deleted and made anew gets a conflict.
    """

    max_timeout_s: ClassVar[float] = 5.0

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open or create the file in `folder`, readable by its owner alone.

        Raises:
            OSError: the folder or the file cannot be used.
        """
        return cls(open_storage_file(folder))

    def get(self, owner: Owner, namespace: str, key: str, *, timeout_s: float) -> Entry:
        """See EntryStore."""
        with self._turn(timeout_s) as connection:
            row = connection.execute(
                "SELECT value, revision FROM entry"
                " WHERE tenant = ? AND install = ? AND namespace = ? AND key = ?",
                (owner.tenant_id, owner.install_id, namespace, key),
            ).fetchone()
        if row is None:
            raise EntryMissing
        return Entry(namespace, key, *row)

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
        """See EntryStore; StorageDenied is one of this module's bounds."""
        where = (owner.tenant_id, owner.install_id, namespace, key)
        with self._turn(timeout_s, writes=True) as connection:
            row = connection.execute(
                "SELECT revision, length(value) FROM entry"
                " WHERE tenant = ? AND install = ? AND namespace = ? AND key = ?",
                where,
            ).fetchone()
            if revision is not None and (row is None or row[0] != revision):
                raise RevisionConflict
            if row is None:
                _refuse_crowding(connection, owner, namespace)
            growth = len(value) - (0 if row is None else row[1])
            new_revision = _account(connection, owner, growth)
            connection.execute(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET value = excluded.value, revision = excluded.revision",
                (*where, value, new_revision),
            )
        return Entry(namespace, key, value, new_revision)

    def delete(self, owner: Owner, namespace: str, key: str, *, timeout_s: float) -> bool:
        """See EntryStore."""
        where = (owner.tenant_id, owner.install_id, namespace, key)
        with self._turn(timeout_s, writes=True) as connection:
            connection.execute(
                "UPDATE owner SET stored_bytes = stored_bytes - coalesce((SELECT length(value)"
                " FROM entry WHERE tenant = ? AND install = ? AND namespace = ? AND key = ?), 0)"
                " WHERE tenant = ? AND install = ?",
                (*where, owner.tenant_id, owner.install_id),
            )
            removed = connection.execute(
                "DELETE FROM entry WHERE tenant = ? AND install = ? AND namespace = ? AND key = ?",
                where,
            ).rowcount
        return removed == 1

    def list_page(
        self, owner: Owner, namespace: str, after: str | None, *, timeout_s: float
    ) -> list[Entry]:
        """See EntryStore; the order is that of code points."""
        page: list[Entry] = []
        size = 0
        with self._turn(timeout_s) as connection:
            rows = connection.execute(
                "SELECT key, value, revision FROM entry WHERE tenant = ? AND install = ?"
                " AND namespace = ? AND key > ? ORDER BY key LIMIT ?",
                (owner.tenant_id, owner.install_id, namespace, after or "", PAGE_ENTRIES),
            )
            for key, value, revision in rows:
                page.append(Entry(namespace, key, value, revision))
                size += len(value)
                if size >= PAGE_BYTES:
                    break
            rows.close()
        return page

    def close(self) -> None:
        """Close the file; later calls raise StorageFailed. Waits for the one that runs."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _turn(self, timeout_s: float, *, writes: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection for one caller at a time; one transaction if it `writes`."""
        give_up = time.monotonic() + timeout_s
        if timeout_s <= 0 or not self._lock.acquire(timeout=timeout_s):
            raise StorageFailed("timeout")
        connection = self._connection
        try:
            left_ms = max(0, int((give_up - time.monotonic()) * 1000))
            connection.execute(f"PRAGMA busy_timeout = {left_ms}")
            if not writes:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has already ended it
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            # "SQLITE_FULL", say; the module's own errors have none.
            raise StorageFailed(getattr(error, "sqlite_errorname", type(error).__name__)) from error
        finally:
            self._lock.release()


def _refuse_crowding(connection: sqlite3.Connection, owner: Owner, namespace: str) -> None:
    who = (owner.tenant_id, owner.install_id)
    (keys,) = connection.execute(
        "SELECT count(*) FROM entry WHERE tenant = ? AND install = ? AND namespace = ?",
        (*who, namespace),
    ).fetchone()
    if keys >= MAX_KEYS_PER_NAMESPACE:
        raise StorageDenied
    if keys == 0:
        (namespaces,) = connection.execute(
            "SELECT count(DISTINCT namespace) FROM entry WHERE tenant = ? AND install = ?", who
        ).fetchone()
        if namespaces >= MAX_NAMESPACES:
            raise StorageDenied


def _account(connection: sqlite3.Connection, owner: Owner, growth: int) -> int:
    """Book `growth` bytes on the owner and return the revision of this write."""
    who = (owner.tenant_id, owner.install_id)
    row = connection.execute(
        "SELECT stored_bytes, last_revision FROM owner WHERE tenant = ? AND install = ?", who
    ).fetchone()
    stored, revision = row or (0, 0)
    if stored + growth > MAX_OWNER_BYTES:
        raise StorageDenied
    connection.execute(
        "INSERT INTO owner VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET stored_bytes = excluded.stored_bytes, last_revision = excluded.last_revision",
        (*who, stored + growth, revision + 1),
    )
    return int(revision + 1)


_guard: type[EntryStore] = StorageDatabase
