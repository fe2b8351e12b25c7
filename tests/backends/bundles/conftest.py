"""A folder of bundles, and an archive that nothing is wrong with."""

from pathlib import Path

import pytest

from backends.bundles.store import BundleStore
from tests.backends.archives import entries, write_archive


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> BundleStore:
    return BundleStore(root)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "honest.tar.zst", entries())
