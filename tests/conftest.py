"""What every test finds, whatever ran before it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from backends.bundles.pack import pack
from gateway.installs.changes import install_bundle

HELLO = Path(__file__).parents[1] / "examples" / "hello"

# No example fails because the machine was busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The program configures logging for its whole process, which tests share."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder with example.hello in it; its compiled code is kept there too."""
    root = tmp_path_factory.mktemp("bundles")
    archive = tmp_path_factory.mktemp("packed") / "hello.tar.zst"
    pack(HELLO, archive)
    install_bundle(root, archive, tenant="dev")
    return root
