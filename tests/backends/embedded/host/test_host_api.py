"""The internal API's client: addressed, authenticated, bounded."""

import asyncio
from pathlib import Path

import orjson
import pytest

from backends.embedded.host.asking import ask
from backends.embedded.host.host_api import MAX_RESPONSE_BYTES, HostAnswer, HostApiFailed
from backends.embedded.host.services import HostServices, open_services
from backends.files.token import TokenFile
from backends.settings import EmbeddedSettings, HostApiSettings
from tests.backends.embedded.host.calls import call_of
from tests.fakes.host_app import HostApp


async def post(
    services: HostServices, *, install_id: str | None = "install-1", within_s: float = 20.0
) -> HostAnswer:
    call = call_of(services, install_id=install_id, within_s=within_s)
    return await asyncio.to_thread(ask, call, "ext-clients", {"operation": "list"})


async def test_an_operation_is_posted_with_the_runners_token(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = b'{"a": 1}'
    assert await post(services) == HostAnswer(200, {"a": 1})
    (seen,) = host_app.seen
    assert (seen.method, seen.raw_path) == ("POST", "/api/internal/ext-clients/install/install-1")
    assert seen.headers["x-runner-auth"] == "runner-token"
    assert seen.headers["content-type"] == "application/json"
    assert orjson.loads(seen.body) == {"operation": "list"}


async def test_a_token_that_is_renewed_in_its_file_counts_from_the_next_call_on(
    tmp_path: Path, host_app: HostApp
) -> None:
    file = tmp_path / "token"
    host_api = HostApiSettings(base_url=host_app.url, token=TokenFile(file))
    services = await open_services(EmbeddedSettings(bundle_dir=tmp_path, host_api=host_api))
    for token in ("before", "afterwards"):
        file.write_text(token)
        await post(services)
    await services.aclose()
    assert [seen.headers["x-runner-auth"] for seen in host_app.seen] == ["before", "afterwards"]


async def test_an_install_id_cannot_leave_its_place_in_the_path(
    services: HostServices, host_app: HostApp
) -> None:
    await post(services, install_id="../x?y#z%2f")
    assert host_app.seen[0].raw_path.endswith("/install/..%2Fx%3Fy%23z%252f")
    with pytest.raises(HostApiFailed):
        await post(services, install_id="..")
    assert len(host_app.seen) == 1


async def test_a_redirect_does_not_get_the_token(services: HostServices, host_app: HostApp) -> None:
    host_app.status, host_app.headers = 307, {"Location": "/elsewhere"}
    assert (await post(services)).status == 307
    assert len(host_app.seen) == 1


async def test_a_failure_keeps_its_status_whatever_its_body(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.status, host_app.body = 500, b"<html>"
    assert await post(services) == HostAnswer(500, None)


async def test_an_empty_success_is_no_document(services: HostServices, host_app: HostApp) -> None:
    host_app.body = b" "
    assert await post(services) == HostAnswer(200, None)


async def test_a_success_that_is_not_json_is_a_failure(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = b"<html>secret</html>"
    with pytest.raises(HostApiFailed, match=r"^invalid JSON response$"):
        await post(services)


async def test_an_answer_that_is_too_large_is_a_failure(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = b'"' + bytes(MAX_RESPONSE_BYTES) + b'"'
    with pytest.raises(HostApiFailed, match=r"^transport failure$"):
        await post(services)


async def test_a_silent_application_costs_no_more_than_the_calls_time(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.may_answer.clear()
    with pytest.raises(HostApiFailed, match=r"^transport failure$"):
        await post(services, within_s=0.2)


async def test_without_application_or_install_nothing_is_asked(
    services: HostServices, lonely_services: HostServices, host_app: HostApp
) -> None:
    with pytest.raises(HostApiFailed, match="not configured"):
        await post(lonely_services)
    with pytest.raises(HostApiFailed, match="not configured"):
        await post(services, install_id=None)
    assert host_app.seen == []


async def test_closing_the_services_ends_a_running_call(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.may_answer.clear()
    running = asyncio.create_task(post(services))
    await host_app.asked.get()
    await services.aclose()
    with pytest.raises(HostApiFailed, match=r"^transport failure$"):
        await running
    with pytest.raises(HostApiFailed, match=r"^transport failure$"):
        await post(services)
