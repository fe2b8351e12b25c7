"""What the disk gives back is what was put there, or nothing."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from backends.errors import AssetNotFound
from gateway.asset_cache.cache import AssetCache
from gateway.asset_cache.disk import Disk
from gateway.asset_cache.entry import Entry, Key
from gateway.asset_cache.shelf import MAX_UNWRITTEN_BYTES, REST_S, Shelf
from tests.clock import Clock
from tests.fakes.runner import HttpAnswer, UiFile
from tests.gateway.asset_cache.rig import MIB, SCRIPT, Rig

KEY = ("sha256:" + "5a" * 32, "app.js")
FIELDS = (("content-type", "text/javascript"), ("x-content-type-options", "nosniff"))


def entry(body: bytes = SCRIPT) -> Entry:
    return Entry(hashlib.sha256(body).hexdigest(), body, FIELDS)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path, max_bytes=MIB, largest=100_000)


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def test_a_file_comes_back_as_it_was(disk: Disk) -> None:
    disk.store(KEY, entry())
    found = disk.load(KEY)
    assert found is not None
    assert (found.etag, found.body, found.fields) == (entry().etag, SCRIPT, FIELDS)
    assert disk.load((KEY[0], "other.js")) is None


def test_equal_content_is_there_once(disk: Disk, tmp_path: Path) -> None:
    for number in range(3):
        disk.store((f"sha256:{number}", "vendor.js"), entry())
    assert len(list((tmp_path / "blobs").iterdir())) == 1
    assert len(list((tmp_path / "names").iterdir())) == 3


def test_nobody_else_may_read_or_write_it(disk: Disk, tmp_path: Path) -> None:
    disk.store(KEY, entry())
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_content_that_was_touched_is_not_given_out(
    disk: Disk, tmp_path: Path, data: st.DataObject
) -> None:
    disk.store(KEY, entry())
    (blob,) = (tmp_path / "blobs").iterdir()
    touched = bytearray(SCRIPT)
    place = data.draw(st.integers(0, len(SCRIPT) - 1))
    touched[place] ^= data.draw(st.integers(1, 255))
    blob.write_bytes(touched[: data.draw(st.integers(place + 1, len(SCRIPT)))])
    assert disk.load(KEY) is None
    assert not blob.exists()


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"x" * 20_000,
        {"bundle": "sha256:other"},
        {"path": "other.js"},
        {"sha256": "../../../etc/passwd"},
        {"sha256": 1},
        {"fields": [["content-type", "a/b\r\nset-cookie: a=b"]]},
        {"fields": [["content-type", "a/b"], ["set-cookie", "a=b"]]},
        {"fields": [["content-type"]]},
        {"fields": [1]},
        {"fields": []},
    ],
    ids=str,
)
def test_a_record_that_was_never_written_here_means_nothing(
    disk: Disk, tmp_path: Path, record: bytes | dict[str, object]
) -> None:
    disk.store(KEY, entry())
    (name,) = (tmp_path / "names").iterdir()
    if isinstance(record, dict):
        record = json.dumps({**json.loads(name.read_bytes()), **record}).encode()
    name.write_bytes(record)
    assert disk.load(KEY) is None


def test_a_record_cannot_name_a_file_elsewhere(disk: Disk, tmp_path: Path) -> None:
    disk.store(KEY, entry())
    (name,) = (tmp_path / "names").iterdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"somebody else's")
    record = {**json.loads(name.read_bytes()), "sha256": "../victim"}
    name.write_text(json.dumps(record))
    assert disk.load(KEY) is None
    assert victim.exists()


def test_what_is_too_large_to_hold_is_not_read(tmp_path: Path) -> None:
    Disk(tmp_path, max_bytes=MIB, largest=MIB).store(KEY, entry())
    assert Disk(tmp_path, max_bytes=MIB, largest=len(SCRIPT)).load(KEY) is not None
    assert Disk(tmp_path, max_bytes=MIB, largest=len(SCRIPT) - 1).load(KEY) is None


def test_the_longest_unused_goes_first_and_the_bound_holds(disk: Disk, tmp_path: Path) -> None:
    def key(number: int) -> Key:
        return (f"sha256:{number}", "a.js")

    for number in range(30):
        disk.store(key(number), entry(bytes([number]) * 90_000))
        for path in files(tmp_path):  # make the order visible to a coarse clock
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
        assert disk.load(key(0)) is not None, "it is used all the time"
        assert sum(path.stat().st_size for path in files(tmp_path)) <= MIB * 17 / 16
    assert disk.load(key(29)) is not None
    assert disk.load(key(1)) is None


def test_leftovers_of_a_crash_are_swept_too(disk: Disk, tmp_path: Path) -> None:
    disk.store(KEY, entry())
    leftover = tmp_path / "blobs" / "new-crashed"
    leftover.write_bytes(b"x" * 2 * MIB)
    os.utime(leftover, (1, 1))
    for number in range(30):
        disk.store((f"sha256:{number}", "a.js"), entry(bytes([number]) * 9_000))
    assert not leftover.exists()
    assert disk.load(KEY) is not None


WRITER = """
import hashlib, sys
from pathlib import Path
from gateway.asset_cache.disk import Disk
from gateway.asset_cache.entry import Entry
disk = Disk(Path(sys.argv[1]), max_bytes=400_000, largest=100_000)
for round in range(60):
    body = bytes([round % 12]) * 50_000
    key = ("sha256:shared", f"{round % 12}.js")
    found = disk.load(key)
    assert found is None or found.body == body
    disk.store(key, Entry(hashlib.sha256(body).hexdigest(), body, (("content-type", "a/b"),)))
"""


def test_processes_that_share_a_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    complaints = [writer.communicate(timeout=60)[1] for writer in writers]
    assert complaints == [b"", b"", b""]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert not [path for path in files(tmp_path) if path.name.startswith("new-")]


async def test_a_restarted_gateway_asks_for_leave_and_not_for_bytes(
    rig: Rig, tmp_path: Path
) -> None:
    rig.cache.reconfigure(max_bytes=64 * MIB, folder=tmp_path / "kept")
    first = await rig.get()
    await rig.cache.settled()
    await rig.cache.aclose()
    rig.cache = AssetCache(max_bytes=64 * MIB, folder=tmp_path / "kept", clock=rig.clock)
    assert await rig.get() == first
    assert rig.runner.assets[1].headers["if-none-match"] == first.headers["etag"]
    assert rig.hit()


async def test_a_tenant_without_leave_gets_nothing_from_the_disk(rig: Rig, tmp_path: Path) -> None:
    rig.cache.reconfigure(max_bytes=64 * MIB, folder=tmp_path)
    await rig.get()
    await rig.cache.settled()
    await rig.cache.aclose()
    rig.cache = AssetCache(max_bytes=64 * MIB, folder=tmp_path, clock=rig.clock)
    rig.runner.asset_script.append(HttpAnswer(status=404))
    with pytest.raises(AssetNotFound):
        await rig.get(range="bytes=0-1")


async def test_a_file_that_another_gateway_kept_and_that_has_changed_is_fetched(
    rig: Rig, tmp_path: Path
) -> None:
    rig.cache.reconfigure(max_bytes=64 * MIB, folder=tmp_path)
    Disk(tmp_path, max_bytes=MIB, largest=MIB).store(KEY, entry(b"planted()"))
    assert (await rig.get()).body == SCRIPT
    await rig.cache.settled()
    found = Disk(tmp_path, max_bytes=MIB, largest=MIB).load(KEY)
    assert found is not None
    assert found.body == SCRIPT


async def test_a_disk_that_fails_slows_nobody_down_and_is_left_alone(
    rig: Rig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    rig.cache.reconfigure(max_bytes=64 * MIB, folder=tmp_path / "file" / "inside")
    rig.runner.files["b.js"] = UiFile(body=b"b()", content_type="text/javascript")
    assert (await rig.get()).body == SCRIPT
    assert (await rig.get("b.js")).body == b"b()"
    await rig.cache.settled()
    assert rig.hit("b.js")


async def test_a_folder_that_cannot_be_used_is_named_before_a_file_comes(
    rig: Rig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with capture_logs() as logs:
        rig.cache.reconfigure(max_bytes=64 * MIB, folder=tmp_path / "file")
        await rig.cache.settled()
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("asset_cache_disk_failed", "warning")
    assert line["variable"] == "GATEWAY_ASSET_CACHE_DIR"
    assert line["detail"] == f"{tmp_path / 'file' / 'blobs'}: Not a directory"


async def test_a_folder_that_can_be_used_is_made_and_nothing_is_said(
    rig: Rig, tmp_path: Path
) -> None:
    with capture_logs() as logs:
        rig.cache.reconfigure(max_bytes=64 * MIB, folder=tmp_path / "made")
        await rig.cache.settled()
    assert logs == []
    assert sorted(each.name for each in (tmp_path / "made").rglob("*")) == ["blobs", "names"]


class StuckDisk(Disk):
    """Hangs like a network mount whose server is gone, which cannot be staged for real."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, max_bytes=MIB, largest=MIB)
        self.loads = 0
        self.goes_on = threading.Event()

    def load(self, key: Key) -> Entry | None:
        self.loads += 1
        self.goes_on.wait(30)
        return super().load(key)


async def test_a_disk_that_hangs_is_not_waited_for_and_then_left_alone(tmp_path: Path) -> None:
    clock = Clock()
    disk = StuckDisk(tmp_path)
    disk.store(KEY, entry())
    shelf = Shelf(disk, load_s=0.05, clock=clock)
    try:
        assert await asyncio.gather(*(shelf.load(KEY) for _ in range(5))) == [None] * 5
        assert disk.loads == 1, "five askers are one question"
        other = ("sha256:other", "a.js")
        assert await shelf.load(other) is None
        shelf.store(other, entry())
        assert disk.loads == 1
    finally:
        disk.goes_on.set()
    await shelf.written()
    assert Disk(tmp_path, max_bytes=MIB, largest=MIB).load(other) is None
    clock.now += REST_S
    found = await shelf.load(KEY)
    assert found is not None
    assert found.body == SCRIPT
    await shelf.aclose()


async def test_what_waits_to_be_written_is_bounded(tmp_path: Path) -> None:
    disk = Disk(tmp_path, max_bytes=1024 * MIB, largest=64 * MIB)
    shelf = Shelf(disk)
    part = MAX_UNWRITTEN_BYTES // 2
    for number in range(3):
        shelf.store((f"sha256:{number}", "a.js"), entry(bytes([number]) * part))
    await shelf.written()
    assert len(list((tmp_path / "blobs").iterdir())) == 2
    shelf.store(KEY, entry(b"\xff" * part))
    await shelf.written()
    assert len(list((tmp_path / "blobs").iterdir())) == 3
    await shelf.aclose()


async def test_without_threads_for_it_the_disk_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = Clock()
    disk = Disk(tmp_path, max_bytes=MIB, largest=MIB)
    disk.store(KEY, entry())
    shelf = Shelf(disk, clock=clock)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        assert await shelf.load(KEY) is None
        clock.now += REST_S
        shelf.store(("sha256:other", "a.js"), entry())
        await shelf.written()
    clock.now += REST_S
    assert await shelf.load(KEY) is not None
    await shelf.aclose()
