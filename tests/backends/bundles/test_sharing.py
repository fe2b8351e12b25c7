"""Threads and processes that meet in one folder of bundles."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backends.bundles.store import BundleStore
from backends.files.lock import file_lock
from tests.backends.archives import (
    FILES,
    entries,
    entry,
    write_archive,
)


def test_many_threads_that_open_at_once_get_one_bundle(root: Path, archive: Path) -> None:
    content_hash = BundleStore(root).add(archive).content_hash
    store = BundleStore(root)
    (next((root / "extracted").iterdir()) / ".ready").unlink()
    barrier = threading.Barrier(8)

    def open_with_the_others() -> int:
        barrier.wait()
        return id(store.open(content_hash))

    with ThreadPoolExecutor(8) as pool:
        opened = {one.result() for one in [pool.submit(open_with_the_others) for _ in range(8)]}

    assert len(opened) == 1


OPEN_AND_READ = """
import sys
from pathlib import Path
from backends.bundles.store import BundleStore
print("ready", flush=True)
sys.stdin.readline()
bundle = BundleStore(Path(sys.argv[1])).open(sys.argv[2])
print(bundle.wasm_path.read_bytes().hex(), (bundle.ui_root / "app.js").stat().st_ino, flush=True)
"""


def test_processes_that_open_at_once_extract_once(root: Path, tmp_path: Path) -> None:
    many = [entry(f"ui/{n}.js", b"x") for n in range(1500)]  # so that they do meet
    archive = write_archive(tmp_path / "many.tar.zst", [*entries(), *many])
    content_hash = BundleStore(root).add(archive).content_hash
    (next((root / "extracted").iterdir()) / ".ready").unlink()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_READ, str(root), content_hash],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0] for process in processes}

    assert len(answers) == 1  # the same inode: extracted by one of them
    assert answers.pop().startswith(FILES["dist/main.wasm"].hex())


HOLD_LOCK = """
import sys
from pathlib import Path
from backends.files.lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_of_another_process_is_waited_for_only_so_long(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError), file_lock(path, deadline_s=0.05):
            pass
        holder.communicate("done\n", timeout=60)
    with file_lock(path, deadline_s=0):
        assert path.exists()


def test_whoever_waited_for_a_deleted_lock_takes_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    waits, has_it, may_leave = threading.Event(), threading.Event(), threading.Event()

    def pause(_: float) -> None:
        waits.set()

    def wait_for_it() -> None:
        with file_lock(path):
            has_it.set()
            may_leave.wait(30)

    monkeypatch.setattr("backends.files.lock.time.sleep", pause)  # tells that it waits
    with ThreadPoolExecutor(1) as pool:
        with file_lock(path):
            waiter = pool.submit(wait_for_it)
            assert waits.wait(30)
            path.unlink()
        assert has_it.wait(30)
        with pytest.raises(TimeoutError), file_lock(path, deadline_s=0):
            pass
        may_leave.set()
        waiter.result(30)
