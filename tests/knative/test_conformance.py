"""The suite that every backend passes, through Envoy, activator and queue-proxy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.bundles.pack import pack
from backends.bundles.store import BundleStore
from backends.contract import BackendKind
from backends.knative import open_knative
from tests.backends.calls import CONTENT_HASH
from tests.backends.test_contract import *  # noqa: F403 - collected here for this subject
from tests.backends.test_contract import EXAMPLE, Subject
from tests.fakes.runner import FakeRunner
from tests.knative.conftest import by_service
from tests.rigs.knative.pods import fake_pod, real_runner_with
from tests.rigs.knative.rig import KnativeRig

pytestmark = pytest.mark.knative


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The example bundle, installed where a real runner looks; compiled once for all cases."""
    folder = tmp_path_factory.mktemp("store")
    pack(EXAMPLE, folder / "hello.tar.zst")
    return folder / "store", BundleStore(folder / "store").add(
        folder / "hello.tar.zst"
    ).content_hash


@pytest.fixture(params=["fake", "real"])
async def subject(
    request: pytest.FixtureRequest, runner: FakeRunner, store: tuple[Path, str], tmp_path: Path
) -> AsyncIterator[Subject]:
    real = request.param == "real"
    folder, stored_as = store
    opened = real_runner_with(RUNNER_BUNDLE_DIR=str(folder)) if real else fake_pod(runner)
    token = tmp_path / "token"
    token.write_text("projected-token")
    async with KnativeRig(opened) as rig:
        backend = await open_knative(by_service(rig, tmp_path, token_file=token))
        yield Subject(BackendKind.KNATIVE, backend, stored_as if real else CONTENT_HASH)
        await backend.aclose()
