"""Behind an ingress a runner is known by its Host, and a token opens the door."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from backends.contract import Readiness
from backends.errors import RunnerUnreachable
from backends.knative import open_knative
from backends.settings import KnativeSettings
from tests.backends.calls import asset_request, execute_request
from tests.fakes.raw_runner import RawRunner, response, send
from tests.fakes.runner import FakeRunner


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as runner:
        yield runner


async def test_every_request_names_the_service_and_carries_the_token(
    runner: FakeRunner, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("one")
    backend = await open_knative(
        KnativeSettings(
            base_url=runner.url, host="Hello.Default.Example:8443", token_file=token_file
        )
    )
    await backend.execute(execute_request())
    await backend.fetch_asset(asset_request())
    await backend.health()
    token_file.unlink()
    token_file.write_text("another")
    await backend.execute(execute_request())
    await backend.aclose()
    assert [each.headers.getall("host") for each in runner.received] == [
        ["hello.default.example:8443"]
    ] * 4
    tokens = [each.headers.getall("authorization") for each in runner.received]
    assert tokens == [["Bearer one"]] * 3 + [["Bearer another"]]


async def test_tls_asks_for_the_service_and_not_for_the_ingress() -> None:
    asked_for: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("hello.default.example").configure_cert(tls)
    tls.sni_callback = lambda sock, name, context: asked_for.append(name)
    async with RawRunner(send(response()), tls=tls) as ingress:
        backend = await open_knative(
            KnativeSettings(base_url=ingress.url, host="hello.default.example:443")
        )
        # The test's authority is not among the system's, so it ends at the certificate.
        with pytest.raises(RunnerUnreachable, match="tls_failed"):
            await backend.execute(execute_request())
        await backend.aclose()
    assert asked_for == ["hello.default.example"]


async def test_without_host_and_token_the_request_is_plain(runner: FakeRunner) -> None:
    backend = await open_knative(KnativeSettings(base_url=runner.url))
    await backend.execute(execute_request())
    await backend.aclose()
    assert runner.received[0].headers["host"] == f"127.0.0.1:{runner.port}"
    assert "authorization" not in runner.received[0].headers


async def test_a_token_that_cannot_be_read_sends_nothing(
    runner: FakeRunner, tmp_path: Path
) -> None:
    backend = await open_knative(
        KnativeSettings(base_url=runner.url, token_file=tmp_path / "missing")
    )
    with pytest.raises(RunnerUnreachable, match="token_unreadable"):
        await backend.execute(execute_request())
    health = await backend.health()
    await backend.aclose()
    assert (health.readiness, health.detail) == (Readiness.DOWN, "token_unreadable")
    assert runner.received == []


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("http://user:s3cret@runner", None),
        ("runner", None),
        ("http://runner", "a.example/path"),
        ("http://runner", "a.example\r\nx: y"),
        ("http://runner", "user@a.example"),
    ],
)
async def test_an_address_that_is_none_is_refused_when_opened(
    base_url: str, host: str | None
) -> None:
    with pytest.raises(ValueError, match="the runner's") as caught:
        await open_knative(KnativeSettings(base_url=base_url, host=host))
    assert "s3cret" not in str(caught.value)


async def test_an_operator_sees_where_the_runner_is_and_that_there_is_a_token(
    tmp_path: Path,
) -> None:
    backend = await open_knative(
        KnativeSettings(
            base_url="http://ingress:8080/base/", host="hello.example", token_file=tmp_path / "t"
        )
    )
    seen = await backend.metadata()
    await backend.aclose()
    assert backend.identity.name == "http://ingress:8080"
    assert seen["base_url"] == "http://ingress:8080/base"
    assert (seen["host"], seen["token"]) == ("hello.example", "file")
