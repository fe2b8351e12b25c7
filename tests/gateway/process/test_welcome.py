"""What is printed at the start: nothing that its reader could not use."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.installs.directory import DirectoryInstalls
from gateway.installs.index import write_index
from gateway.installs.naming import EVERY_TENANT
from gateway.process.welcome import welcome
from tests.fakes.runner import FakeRunner, UiFile
from tests.gateway.harness import INSTALL, Gateway, in_front_of, running


@pytest.fixture(autouse=True)
def no_log_lines() -> Iterator[None]:
    """A probe's line would be in between: in these tests the log goes to standard output."""
    with capture_logs():
        yield


async def test_developers_are_shown_the_console_and_what_they_can_call(
    runner: FakeRunner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = {"acme": "acme.theirs", "dev": "acme.own", EVERY_TENANT: "acme.shared"}
    write_index(
        tmp_path,
        [replace(INSTALL, tenant_id=tenant, extension_slug=named[tenant]) for tenant in named],
    )
    async with running(
        in_front_of(runner), DirectoryInstalls(tmp_path, dev_tenant="dev")
    ) as gateway:
        said = await _said(gateway, capfd)
        assert re.findall(r"acme\.\w+(?= 1)", said) == ["acme.own", "acme.shared"]
        handlers = re.findall(r"curl -i (\S+)", said)
        assert len(handlers) == 2
        for address in (f"{gateway.url}/gateway/", *handlers):
            assert address in said
            async with gateway.client.get(address) as answer:
                assert answer.status == 200, address


@pytest.mark.parametrize("base", ["/runner", "/apps", "/"])
async def test_a_page_is_named_where_the_gateway_serves_it_wherever_browsers_find_it(
    base: str, runner: FakeRunner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runner.files["index.html"] = UiFile(body=b"<!doctype html>", content_type="text/html")
    write_index(tmp_path, [INSTALL])
    told = in_front_of(runner, RUNNER_PUBLIC_BASE=base)
    async with running(told, DirectoryInstalls(tmp_path, dev_tenant="dev")) as gateway:
        said = await _said(gateway, capfd)
        async with gateway.client.get(f"{gateway.url}/gateway/v1/console/snapshot") as answer:
            (shown,) = (await answer.json())["extensions"]["installs"]
        (page,) = re.findall(r"page +(\S+)", said)
        assert page == gateway.url + shown["preview"]
        async with gateway.client.get(page) as answer:
            assert answer.status == 200


async def test_an_index_that_cannot_be_read_stops_no_start(
    runner: FakeRunner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "installs.json").write_text("{broken")
    installs = DirectoryInstalls(tmp_path, dev_tenant="dev")
    async with running(in_front_of(runner), installs) as gateway:
        said = await _said(gateway, capfd)
        assert said.endswith("What is installed cannot be read: the log says why.\n")
        write_index(tmp_path, [INSTALL])
        assert "acme.crm" in await _said(gateway, capfd)


async def test_at_a_unix_socket_it_is_what_curl_takes(
    runner: FakeRunner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_index(tmp_path, [INSTALL])
    told = in_front_of(runner)
    async with running(told, DirectoryInstalls(tmp_path, dev_tenant="dev")) as gateway:
        await welcome("unix:/run/the gateway", gateway.live.settings, gateway.app)
    handler = "curl -i --unix-socket '/run/the gateway' http://localhost/api/ext/acme.crm/hello"
    said = capfd.readouterr().out.splitlines()
    assert said == [
        "Extension gateway on unix:/run/the gateway (backend: docker)",
        "",
        "  acme.crm 1.0.0",
        f"    handler  {handler}",
    ]


async def test_in_production_it_is_one_line(
    runner: FakeRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    told = in_front_of(
        runner, GATEWAY_AUTH="proxy", GATEWAY_PROXY_KEY="a-proxy-key-for-these-tests-only"
    )
    async with running(told) as gateway:
        said = await _said(gateway, capfd)
        assert said == f"Extension gateway on {gateway.url} (backend: docker)\n"


async def _said(gateway: Gateway, capfd: pytest.CaptureFixture[str]) -> str:
    await welcome(gateway.url, gateway.live.settings, gateway.app)
    return capfd.readouterr().out
