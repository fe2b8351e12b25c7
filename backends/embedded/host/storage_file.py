"""The SQLite file behind the extensions' storage: its schema, and how it is opened."""

import sqlite3
import time
from pathlib import Path

_FILE_NAME = "storage.sqlite3"
_SCHEMA_VERSION = 1
_OPEN_TIMEOUT_S = 5.0
_RETRY_S = 0.01
_JOURNAL_BYTES = 16 * 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    tenant TEXT NOT NULL, install TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL,
    value BLOB NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (tenant, install, namespace, key)
);
CREATE TABLE IF NOT EXISTS owner (
    tenant TEXT NOT NULL, install TEXT NOT NULL,
    stored_bytes INTEGER NOT NULL, last_revision INTEGER NOT NULL,
    PRIMARY KEY (tenant, install)
) WITHOUT ROWID;
"""


def open_storage_file(folder: Path) -> sqlite3.Connection:
    """Open or create the file in `folder`, readable by its owner alone.

    Any number of threads and processes may do so at the same time. The connection is in
    autocommit mode and may be used from any thread, by one at a time.

    Raises:
        OSError: the folder or the file cannot be used.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / _FILE_NAME
    try:
        return _connect(path)
    except sqlite3.Error as error:
        raise OSError(f"the extension storage {path} cannot be opened: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_OPEN_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA schema_version")  # makes the file, still empty
        # By its name, since closing a descriptor of our own would drop the locks of every
        # connection in this process. SQLite gives its journals the mode of the database.
        path.chmod(0o600)
        _enter_wal(connection)
        # A crash of this program loses nothing; a power cut may lose the last writes, whole.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _SCHEMA_VERSION}:
            raise sqlite3.DatabaseError(f"schema {version} is not known to this version")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except (sqlite3.Error, OSError):
        connection.close()
        raise
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Turn on write-ahead logging, which SQLite refuses at once while another opener does so."""
    give_up = time.monotonic() + _OPEN_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up:
                raise
            time.sleep(_RETRY_S)
        else:
            return
