"""The suite that every backend passes, against a real runner in a real container."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.contract import BackendKind
from backends.docker import open_docker
from backends.docker_discovered import DiscoveredDockerBackend
from backends.settings import DockerSettings, EngineHints
from gateway.installs.directory import list_installs
from tests.backends.test_contract import (  # noqa: F401 - collected here for this subject
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
from tests.docker.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
async def subject(stack: Stack) -> AsyncIterator[Subject]:
    config = stack.environ.get("DOCKER_CONFIG")
    hints = EngineHints(
        docker_host=stack.environ.get("DOCKER_HOST"),
        config_dir=None if config is None else Path(config),
    )
    project = stack.environ["COMPOSE_PROJECT_NAME"]
    backend = await open_docker(DockerSettings(project=project, engine=hints))
    assert isinstance(backend, DiscoveredDockerBackend)
    (hello,) = (
        install.content_hash
        for install in list_installs(stack.folder / ".gateway" / "bundles")
        if install.extension_slug == "example.hello"
    )
    token = stack.env_file()["RUNNER_SERVICE_TOKEN"]
    yield Subject(BackendKind.DOCKER, backend, hello, token)
    await backend.aclose()
