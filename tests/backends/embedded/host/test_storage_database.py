"""The storage file: a dict per owner, for any number of threads and openers."""

import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends.embedded.host import storage_database
from backends.embedded.host.entry_store import (
    MAX_VALUE_BYTES,
    PAGE_BYTES,
    PAGE_ENTRIES,
    EntryMissing,
    Owner,
    RevisionConflict,
    StorageDenied,
    StorageFailed,
)
from backends.embedded.host.storage_database import (
    MAX_KEYS_PER_NAMESPACE,
    MAX_NAMESPACES,
    StorageDatabase,
)

ADA, BOB = Owner("tenant-1", "install-1"), Owner("tenant-2", "install-2")
OWNERS = (ADA, BOB, Owner("tenant-1", "install-2"), Owner("tenant-2", "install-1"))
LONG_S = 20.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[StorageDatabase]:
    opened = StorageDatabase.open(tmp_path)
    yield opened
    opened.close()


def put(
    database: StorageDatabase,
    key: str,
    value: bytes = b"v",
    *,
    owner: Owner = ADA,
    namespace: str = "n",
    revision: int | None = None,
) -> int:
    written = database.put(owner, namespace, key, value, revision=revision, timeout_s=LONG_S)
    return written.revision


class AnyHistory(RuleBasedStateMachine):
    """Whatever owners do, each sees exactly what a dict of its own would hold."""

    owners = st.sampled_from(OWNERS)
    names = st.sampled_from(["a", "b", "\u00e9", "\U0001f600", "\uffff", "a\x00"])
    values = st.binary(max_size=20)
    revisions = st.none() | st.integers(0, 12) | st.just(2**64 - 1)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = StorageDatabase.open(Path(self.folder.name))
        self.model: dict[Owner, dict[tuple[str, str], tuple[bytes, int]]] = {}
        self.given: dict[Owner, set[int]] = {}

    @rule(owner=owners, namespace=names, key=names, value=values, revision=revisions)
    def write(
        self, owner: Owner, namespace: str, key: str, value: bytes, revision: int | None
    ) -> None:
        held = self.model.setdefault(owner, {})
        given = self.given.setdefault(owner, {0})
        old = held.get((namespace, key))
        if revision is not None and (old is None or old[1] != revision):
            with pytest.raises(RevisionConflict):
                put(self.database, key, value, owner=owner, namespace=namespace, revision=revision)
            return
        new = put(self.database, key, value, owner=owner, namespace=namespace, revision=revision)
        assert new > max(given)
        given.add(new)
        held[namespace, key] = (value, new)

    @rule(owner=owners, namespace=names, key=names)
    def remove(self, owner: Owner, namespace: str, key: str) -> None:
        held = self.model.setdefault(owner, {})
        was_there = held.pop((namespace, key), None) is not None
        assert self.database.delete(owner, namespace, key, timeout_s=LONG_S) is was_there

    @rule(owner=owners, namespace=names, after=st.none() | names)
    def list_from(self, owner: Owner, namespace: str, after: str | None) -> None:
        page = self.database.list_page(owner, namespace, after, timeout_s=LONG_S)
        expected = sorted(
            (key, *content)
            for (space, key), content in self.model.get(owner, {}).items()
            if space == namespace and (after is None or key > after)
        )
        assert [(entry.key, entry.value, entry.revision) for entry in page] == expected

    @invariant()
    def everything_written_can_be_read(self) -> None:
        for owner, held in self.model.items():
            for (namespace, key), (value, revision) in held.items():
                entry = self.database.get(owner, namespace, key, timeout_s=LONG_S)
                assert (entry.value, entry.revision) == (value, revision)

    @invariant()
    def the_books_agree_with_the_shelves(self) -> None:
        with sqlite3.connect(Path(self.folder.name) / "storage.sqlite3") as peek:
            booked = dict(
                ((tenant, install), size)
                for tenant, install, size in peek.execute(
                    "SELECT tenant, install, stored_bytes FROM owner"
                )
            )
        peek.close()
        for owner, held in self.model.items():
            size = sum(len(value) for value, _ in held.values())
            assert booked.get((owner.tenant_id, owner.install_id), 0) == size

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()


AnyHistory.TestCase.settings = settings(max_examples=30, stateful_step_count=30)
test_any_history = AnyHistory.TestCase


def test_threads_and_openers_that_hammer_one_entry_lose_no_update(tmp_path: Path) -> None:
    openers = [StorageDatabase.open(tmp_path) for _ in range(2)]
    put(openers[0], "counter", b"0")
    start = threading.Barrier(6)

    def count_up(database: StorageDatabase) -> None:
        start.wait()
        for _ in range(25):
            while True:
                seen = database.get(ADA, "n", "counter", timeout_s=LONG_S)
                assert seen is not None
                following = str(int(seen.value) + 1).encode()
                try:
                    put(database, "counter", following, revision=seen.revision)
                except RevisionConflict:
                    continue
                break

    with ThreadPoolExecutor(6) as threads:
        for future in [threads.submit(count_up, openers[i % 2]) for i in range(6)]:
            future.result()
    counted = openers[1].get(ADA, "n", "counter", timeout_s=LONG_S)
    for database in openers:
        database.close()
    assert counted is not None
    assert counted.value == b"150"


def test_many_may_open_a_new_file_at_the_same_moment(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def open_and_write(number: int) -> None:
        start.wait()
        database = StorageDatabase.open(tmp_path / "new")
        put(database, str(number))
        database.close()

    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(open_and_write, number) for number in range(8)]:
            future.result()
    database = StorageDatabase.open(tmp_path / "new")
    assert len(database.list_page(ADA, "n", None, timeout_s=LONG_S)) == 8
    database.close()


def test_what_was_written_survives_a_reopening_and_is_private_to_the_operator(
    tmp_path: Path,
) -> None:
    first = StorageDatabase.open(tmp_path)
    put(first, "k", b"kept")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    first.close()
    second = StorageDatabase.open(tmp_path)
    entry = second.get(ADA, "n", "k", timeout_s=LONG_S)
    second.close()
    assert entry is not None
    assert entry.value == b"kept"
    assert set(modes) == {"storage.sqlite3", "storage.sqlite3-wal", "storage.sqlite3-shm"}
    assert set(modes.values()) == {0o600}


def test_opening_again_keeps_the_first_openers_locks(tmp_path: Path) -> None:
    """POSIX drops all of a process's locks on a file as soon as it closes any descriptor of it."""
    first = StorageDatabase.open(tmp_path)
    put(first, "k")
    second = StorageDatabase.open(tmp_path)
    another_process = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute('SELECT count(*) FROM entry').fetchone(); c.close()"
    )
    path = tmp_path / "storage.sqlite3"
    subprocess.run([sys.executable, "-c", another_process, str(path)], check=True, timeout=60)
    # Without the locks it would take itself for the last user and remove the journal.
    assert path.with_name("storage.sqlite3-wal").exists()
    first.close()
    second.close()


def test_a_revision_is_never_used_again(database: StorageDatabase) -> None:
    stale = put(database, "k")
    database.delete(ADA, "n", "k", timeout_s=LONG_S)
    put(database, "k", b"made anew")
    with pytest.raises(RevisionConflict):
        put(database, "k", b"late", revision=stale)


def test_pages_follow_each_other_until_an_empty_one(database: StorageDatabase) -> None:
    keys = sorted(f"key-{number}" for number in range(2 * PAGE_ENTRIES + 1))
    for key in keys:
        put(database, key)
    seen: list[str] = []
    sizes: list[int] = []
    while page := database.list_page(ADA, "n", seen[-1] if seen else None, timeout_s=LONG_S):
        seen += [entry.key for entry in page]
        sizes.append(len(page))
    assert seen == keys
    assert sizes == [PAGE_ENTRIES, PAGE_ENTRIES, 1]


def test_a_page_of_large_values_ends_early(database: StorageDatabase) -> None:
    for number in range(20):
        put(database, f"{number:02}", bytes(MAX_VALUE_BYTES))
    page = database.list_page(ADA, "n", None, timeout_s=LONG_S)
    following = database.list_page(ADA, "n", page[-1].key, timeout_s=LONG_S)
    assert sum(len(entry.value) for entry in page) == PAGE_BYTES
    assert len(page) + len(following) == 20


def test_a_namespace_too_many_is_refused_until_another_is_empty(
    database: StorageDatabase,
) -> None:
    for number in range(MAX_NAMESPACES):
        put(database, "k", namespace=str(number))
    with pytest.raises(StorageDenied):
        put(database, "k", namespace="one more")
    put(database, "other", namespace="0")
    put(database, "k", owner=BOB, namespace="one more")
    database.delete(ADA, "1", "k", timeout_s=LONG_S)
    put(database, "k", namespace="one more")


def test_a_key_too_many_is_refused_and_an_old_one_may_still_change(tmp_path: Path) -> None:
    StorageDatabase.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "storage.sqlite3") as filled:
        filled.executemany(
            "INSERT INTO entry VALUES ('tenant-1', 'install-1', 'n', ?, x'', 1)",
            [(str(number),) for number in range(MAX_KEYS_PER_NAMESPACE)],
        )
    filled.close()
    database = StorageDatabase.open(tmp_path)
    with pytest.raises(StorageDenied):
        put(database, "one more")
    put(database, "0", b"changed")
    put(database, "k", namespace="elsewhere")
    database.close()


def test_an_owner_may_not_pass_its_total_and_may_always_shrink(
    database: StorageDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Filling the real quota would write a quarter of a gigabyte.
    monkeypatch.setattr(storage_database, "MAX_OWNER_BYTES", 100)
    put(database, "a", bytes(60))
    put(database, "b", bytes(40))
    with pytest.raises(StorageDenied):
        put(database, "c", b"!")
    with pytest.raises(StorageDenied):
        put(database, "a", bytes(61))
    put(database, "c", b"")
    put(database, "c", bytes(100), owner=BOB)
    put(database, "a", bytes(10))
    database.delete(ADA, "n", "b", timeout_s=LONG_S)
    put(database, "c", bytes(90))


def test_a_refused_write_changes_nothing(
    database: StorageDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_database, "MAX_OWNER_BYTES", 10)
    put(database, "a", b"old")
    with pytest.raises(StorageDenied):
        put(database, "a", bytes(11))
    entry = database.get(ADA, "n", "a", timeout_s=LONG_S)
    assert entry is not None
    assert entry.value == b"old"


def test_a_write_that_fails_half_way_leaves_no_trace(
    database: StorageDatabase, tmp_path: Path
) -> None:
    # A trigger stands for the disk that fills up between two statements.
    with sqlite3.connect(tmp_path / "storage.sqlite3") as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON entry BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
        with pytest.raises(StorageFailed):
            put(database, "k", b"value")
        other.execute("DROP TRIGGER refuse")
        booked = other.execute("SELECT count(*) FROM owner").fetchone()
    other.close()
    assert booked == (0,)
    assert put(database, "k") == 1


def test_a_writer_gives_up_when_another_process_holds_the_file(tmp_path: Path) -> None:
    database = StorageDatabase.open(tmp_path)
    other = sqlite3.connect(tmp_path / "storage.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFailed):
        database.put(ADA, "n", "k", b"v", revision=None, timeout_s=0.05)
    other.execute("ROLLBACK")
    other.close()
    put(database, "k")
    database.close()


def test_without_time_left_nothing_is_tried(database: StorageDatabase) -> None:
    with pytest.raises(StorageFailed):
        database.put(ADA, "n", "k", b"v", revision=None, timeout_s=0.0)
    with pytest.raises(EntryMissing):
        database.get(ADA, "n", "k", timeout_s=LONG_S)


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = StorageDatabase.open(tmp_path)
    database.close()
    database.close()
    with pytest.raises(StorageFailed):
        database.get(ADA, "n", "k", timeout_s=LONG_S)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "storage.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(OSError, match="cannot be opened"):
        StorageDatabase.open(tmp_path)


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "storage.sqlite3") as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(OSError, match="schema 99"):
        StorageDatabase.open(tmp_path)
