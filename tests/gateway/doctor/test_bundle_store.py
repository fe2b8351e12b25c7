"""A folder of bundles, harmed in every way that a disk and a hand can think of."""

from pathlib import Path

import pytest

from backends.bundles.pack import pack
from gateway.doctor.findings import Level
from gateway.installs.changes import install_bundle
from gateway.installs.contract import Install
from tests.gateway.doctor.rig import of, the_one, visit

SAMPLE = Path(__file__).parents[3] / "examples" / "hello"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


@pytest.fixture
def blocked(folder: Path) -> Path:
    folder.write_text("a file where a folder should be")
    return folder


@pytest.fixture
def installed(folder: Path, tmp_path: Path) -> Install:
    archive = tmp_path / "hello.tar.zst"
    pack(SAMPLE, archive)
    return install_bundle(folder, archive, tenant="dev")


def archive_of(folder: Path, install: Install) -> Path:
    return folder / "archives" / f"{install.content_hash.partition(':')[2]}.tar.zst"


async def test_what_is_installed_is_verified(folder: Path, installed: Install) -> None:
    (found,) = of(await visit(RUNNER_BUNDLE_DIR=str(folder)), "bundles")
    assert found.level is Level.OK
    assert "1 of 1" in found.what


async def test_an_altered_archive_is_found(folder: Path, installed: Install) -> None:
    archive = archive_of(folder, installed)
    archive.chmod(0o644)
    archive.write_bytes(archive.read_bytes() + b"more")
    found = the_one(await visit(RUNNER_BUNDLE_DIR=str(folder)), "bundles", "was altered")
    assert found.level is Level.FAILED
    assert "example.hello" in found.what


async def test_a_missing_archive_is_found(folder: Path, installed: Install) -> None:
    archive_of(folder, installed).unlink()
    found = the_one(await visit(RUNNER_BUNDLE_DIR=str(folder)), "bundles", "is missing")
    assert found.level is Level.FAILED


async def test_a_damaged_index_is_found(folder: Path, installed: Install) -> None:
    (folder / "installs.json").write_text("{")
    found = the_one(await visit(RUNNER_BUNDLE_DIR=str(folder)), "bundles", "unreadable")
    assert found.level is Level.FAILED


async def test_a_folder_that_is_a_file_is_found(blocked: Path) -> None:
    found = the_one(await visit(RUNNER_BUNDLE_DIR=str(blocked)), "bundles", "cannot be written to")
    assert found.level is Level.FAILED


async def test_a_gateway_in_front_of_another_runner_need_not_write_to_it(blocked: Path) -> None:
    environ = {"RUNNER_BASE_URL": "http://127.0.0.1:9", "RUNNER_BUNDLE_DIR": str(blocked)}
    (found,) = of(await visit(**environ), "bundles")
    assert "unreadable" in found.what


async def test_a_folder_that_is_not_there_yet_is_no_failure(folder: Path) -> None:
    (found,) = of(await visit(RUNNER_BUNDLE_DIR=str(folder)), "bundles")
    assert found.level is Level.WARNING
    assert "bundle install" in found.fix
