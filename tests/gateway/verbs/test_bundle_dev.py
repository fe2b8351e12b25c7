"""Installing on every save: real files, a real watcher, a real program."""

import asyncio
import json
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.bundles.pack import QUICK, pack
from backends.bundles.store import BundleStore
from gateway.installs.changes import install_bundle, list_installs
from gateway.installs.contract import Install
from gateway.verbs.bundle_dev import KEPT, NotInstalled, installs_of

ROOT = Path(__file__).parents[3]
HELLO = ROOT / "examples" / "hello"
SOON_S = 30.0


class Session:
    """One `bundle dev` in a thread.

    Attributes:
        folder: the extension that is worked on.
        root: the folder of bundles.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root
        self.page = folder / "ui" / "index.html"
        self._states: queue.Queue[Install | NotInstalled] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Session":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        for state in installs_of(self.folder, self.root, tenant="dev", stop=self._stop):
            self._states.put(state)

    def save(self, text: str) -> None:
        """Write the page in one step: a half-written one would be a state of its own."""
        draft = self.folder / "page.draft"
        draft.write_text(text)
        draft.replace(self.page)

    def next(self) -> Install | NotInstalled:
        return self._states.get(timeout=SOON_S)

    def next_install(self) -> Install:
        state = self.next()
        assert isinstance(state, Install)
        return state

    def installed(self) -> str:
        (install,) = list_installs(self.root)
        return install.content_hash


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    folder = tmp_path / "hello"
    for name in ("manifest.json", "dist", "ui"):
        source = HELLO / name
        folder.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    with Session(folder, tmp_path / "bundles") as running:
        yield running


def test_the_folder_is_installed_at_once_and_after_every_save(session: Session) -> None:
    first = session.next_install()
    assert session.installed() == first.content_hash

    session.save("<p>second</p>")
    second = session.next_install()
    assert session.installed() == second.content_hash
    assert second.install_id == first.install_id
    page = BundleStore(session.root).open(second.content_hash).ui_root / "index.html"
    assert page.read_text() == "<p>second</p>"


def test_what_lasts_until_the_next_save_is_packed_quickly(session: Session, tmp_path: Path) -> None:
    archive = tmp_path / "quick.tar.zst"
    assert session.next_install().content_hash == pack(session.folder, archive, level=QUICK)


def test_a_save_in_place_is_noticed_too(session: Session) -> None:
    before = session.next_install()
    with session.page.open("a") as page:
        page.write("<p>appended</p>")
    assert session.next_install().content_hash != before.content_hash


def test_a_link_that_leads_elsewhere_is_noticed_and_so_are_saves_behind_it(
    session: Session, tmp_path: Path
) -> None:
    session.next_install()
    builds = [tmp_path / "build-1", tmp_path / "build-2"]
    for build in builds:
        shutil.copytree(session.folder / "ui", build)
        (build / "index.html").write_text(f"<p>{build.name}</p>")
    shutil.rmtree(session.folder / "ui")
    (session.folder / "ui").symlink_to(builds[0])
    while not isinstance(one := session.next(), Install):
        pass  # the moment without a page may have been seen

    draft = session.folder / "ui.draft"
    draft.symlink_to(builds[1])
    draft.replace(session.folder / "ui")
    two = session.next_install()

    (builds[1] / "index.html").write_text("<p>behind the link</p>")
    three = session.next_install()
    assert len({one.content_hash, two.content_hash, three.content_hash}) == 3
    assert session.installed() == three.content_hash


def test_a_build_that_deletes_its_folder_first_is_followed(session: Session) -> None:
    session.next_install()
    dist = session.folder / "dist"
    kept = session.folder.parent / "kept"
    dist.rename(kept)
    broken = session.next()
    assert isinstance(broken, NotInstalled)
    assert "dist/main.wasm" in broken.problem

    session.save("<p>with the new build</p>")
    kept.rename(dist)
    while not isinstance(state := session.next(), Install):
        pass  # the page was saved before the component was there
    assert session.installed() == state.content_hash


def test_a_manifest_with_a_mistake_leaves_the_last_good_install(session: Session) -> None:
    good = session.next_install()
    manifest = session.folder / "manifest.json"
    text = manifest.read_text()
    manifest.write_text("{")
    assert isinstance(session.next(), NotInstalled)
    assert session.installed() == good.content_hash

    manifest.write_text(text.replace("1.0.0", "1.0.1"))
    while not isinstance(state := session.next(), Install):
        pass
    assert state.version == "1.0.1"


def test_a_file_whose_name_is_no_text_does_not_end_the_watch(session: Session) -> None:
    session.next_install()
    odd = session.folder / "ui" / os.fsdecode(b"\xe9.js")
    odd.touch()
    refused = session.next()
    assert isinstance(refused, NotInstalled)
    assert refused.problem.startswith("unprintable_name")

    odd.unlink()
    session.save("<p>it goes on</p>")
    assert session.next_install().content_hash == session.installed()


def test_a_save_that_changes_nothing_is_not_announced(session: Session) -> None:
    session.next_install()
    session.page.touch()
    (session.folder / "ui" / ".hidden").write_text("never packed")
    session.save("<p>the next announcement</p>")
    announced = session.next_install()
    page = BundleStore(session.root).open(announced.content_hash).ui_root / "index.html"
    assert page.read_text() == "<p>the next announcement</p>"


def test_what_it_made_is_bounded_and_what_others_installed_stays(
    session: Session, tmp_path: Path
) -> None:
    made = [session.next_install().content_hash]
    archive = session.root / "archives" / f"{made[0].removeprefix('sha256:')}.tar.zst"
    install_bundle(session.root, archive, tenant="somebody-else")
    for number in range(KEPT + 3):
        session.save(f"<p>{number}</p>")
        made.append(session.next_install().content_hash)
    session.page.unlink()  # its report comes after the tidying that follows the last install
    assert isinstance(session.next(), NotInstalled)
    assert set(BundleStore(session.root).hashes()) == {made[0], *made[-KEPT:]}


async def test_the_verb_reports_one_line_an_install_until_it_is_interrupted(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "hello"
    shutil.copytree(HELLO, folder, ignore=shutil.ignore_patterns("node_modules"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "bundle", "dev", str(folder), "--json", "--tenant", "*",
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(SOON_S):
            first = json.loads(await process.stdout.readline())
            (folder / "ui" / "index.html").write_text("<p>saved</p>")
            second = json.loads(await process.stdout.readline())
            manifest = json.loads((folder / "manifest.json").read_text())
            manifest["capabilities"] = ["cap:metrics"]
            (folder / "draft").write_text(json.dumps(manifest))
            (folder / "draft").replace(folder / "manifest.json")
            third = json.loads(await process.stdout.readline())
            (folder / "manifest.json").write_text("{")
            fourth = json.loads(await process.stdout.readline())
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert b"EXT_UI_RELOAD=true" in await process.stderr.read()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert first["install"]["tenant"] == "*"
    assert first["install"]["content_hash"] != second["install"]["content_hash"]
    assert (first["warnings"], len(third["warnings"])) == ([], 1)
    assert fourth["ok"] is False
