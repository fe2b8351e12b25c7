"""The suite that every backend passes, through Envoy, activator and queue-proxy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.bundle_pack import pack
from backends.bundles import BundleStore
from backends.contract import BackendKind
from backends.knative import open_knative
from tests.backends.calls import CONTENT_HASH
from tests.backends.test_contract import (  # noqa: F401 - collected here for this subject
    EXAMPLE,
    Subject,
    test_a_backend_in_good_health_is_ready,
    test_a_backend_says_what_it_is,
    test_a_bundle_that_nobody_has_is_a_class_of_error_without_a_detail,
    test_a_closed_backend_says_so_and_may_be_closed_twice,
    test_a_file_that_is_not_there_is_not_found,
    test_a_guest_gets_the_callers_bytes_and_answers_with_its_own,
    test_a_guest_knows_for_whom_it_runs,
    test_a_guests_own_refusal_is_an_answer_and_no_failure,
    test_a_head_request_has_the_fields_and_not_the_body,
    test_a_page_comes_with_its_type_and_validator,
    test_a_path_that_leaves_the_bundle_is_refused,
    test_a_range_beyond_the_file_names_its_size,
    test_a_range_is_a_part_of_the_file,
    test_a_route_of_the_extensions_own_is_its_page,
    test_the_address_of_a_page_is_under_the_public_base,
    test_warming_a_bundle_never_raises,
    test_what_an_operator_sees_is_plain_data_without_a_secret,
    test_what_the_client_has_already_is_not_sent_again,
)
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
