"""The sample extension, installed once for all journeys."""

from pathlib import Path

import pytest

from backends.bundles import pack
from gateway.installs.directory import install_bundle

HELLO = Path(__file__).parents[2] / "examples" / "hello"


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder with example.hello in it; its compiled code is kept there too."""
    root = tmp_path_factory.mktemp("bundles")
    archive = tmp_path_factory.mktemp("packed") / "hello.tar.zst"
    pack(HELLO, archive)
    install_bundle(root, archive, tenant="dev")
    return root
