"""One bundle that is installed for all tests of its files."""

import pytest

from backends.bundles.extracted import Bundle
from backends.bundles.store import BundleStore
from backends.embedded.ui_file import SMALL_FILE_BYTES
from tests.backends.archives import entries, entry, write_archive
from tests.backends.embedded.asset_calls import LARGE


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BundleStore:
    return BundleStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def bundle(store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    content = [
        *entries(),
        entry("ui/large.wasm", LARGE),
        entry("ui/edge.wasm", LARGE[:SMALL_FILE_BYTES]),
        entry("ui/empty.css"),
        entry("ui/drawing.svg", b"<svg/>"),
        entry("ui/LICENSE", b"do as you like"),
        entry("ui/folder.js/inner.js", b"inner"),
        entry("ui/help/index.html", b"not the page"),
    ]
    return store.add(write_archive(tmp_path_factory.mktemp("archive") / "a", content))
