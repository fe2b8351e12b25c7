"""A token is looked at before it is sent, and asked for again when it was refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from backends.errors import RunnerProtocolError, RunnerUnreachable
from backends.knative import open_knative
from backends.knative_path.token import ServiceToken
from backends.settings import KnativeSettings
from tests.backends.calls import asset_request, execute_request
from tests.fakes.runner import FakeRunner, HttpAnswer

NOW = 1_900_000_000
KEY = "a key that only the issuer knows, and nobody checks here"


def token(**claims: object) -> str:
    return jwt.encode(claims, KEY)


def read(path: Path, content: str, *, audience: str | None = None) -> str:
    path.write_text(content)
    return ServiceToken(path, audience=audience, clock=lambda: NOW).read()


@pytest.mark.parametrize(
    "content",
    [
        token(exp=NOW + 1, aud=["ingress"]),
        token(aud="ingress"),
        token(sub="nobody"),
        "opaque",
    ],
)
def test_a_token_that_is_still_good_is_sent_as_it_is(tmp_path: Path, content: str) -> None:
    assert read(tmp_path / "token", content) == content


@pytest.mark.parametrize(
    ("content", "audience", "reason"),
    [
        (token(exp=NOW, aud="ingress"), None, "token_expired"),
        (token(exp=NOW + 9, aud=["other"]), "ingress", "token_of_another_audience"),
        (token(exp=NOW + 9), "ingress", "token_of_another_audience"),
        ("opaque", "ingress", "token_of_another_audience"),
        (
            token(exp=NOW + 9, aud=["https://kubernetes.default.svc.cluster.local", "k3s"]),
            None,
            "token_of_the_cluster",
        ),
    ],
)
def test_a_token_that_must_not_or_cannot_work_never_leaves(
    tmp_path: Path, content: str, audience: str | None, reason: str
) -> None:
    with pytest.raises(RunnerUnreachable, match=reason) as caught:
        read(tmp_path / "token", content, audience=audience)
    assert content not in str(caught.value)


def test_a_token_goes_bad_while_it_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(token(exp=NOW + 5))
    now = NOW
    known = ServiceToken(path, clock=lambda: now)
    known.read()
    now += 5
    with pytest.raises(RunnerUnreachable, match="token_expired"):
        known.read()
    path.write_text(token(exp=NOW + 60))
    assert known.read()


@pytest.fixture
async def ingress() -> AsyncIterator[FakeRunner]:
    async with FakeRunner() as runner:
        yield runner


async def test_a_refused_token_is_read_again_and_the_call_repeated_once(
    ingress: FakeRunner, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    backend = await open_knative(KnativeSettings(base_url=ingress.url, token_file=path))
    ingress.may_answer.clear()
    ingress.script.append(HttpAnswer(status=401, body=b"token expired"))
    call = asyncio.create_task(backend.execute(execute_request()))
    await ingress.asked.get()
    path.write_text("two")  # renewed while the old one was on its way
    ingress.may_answer.set()
    assert (await call).status == 200
    await backend.aclose()
    sent = [each.headers["authorization"] for each in ingress.executed]
    assert sent == ["Bearer one", "Bearer two"]


async def test_the_same_token_is_not_tried_twice(ingress: FakeRunner, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    backend = await open_knative(KnativeSettings(base_url=ingress.url, token_file=path))
    ingress.script.append(HttpAnswer(status=401))
    with pytest.raises(RunnerProtocolError, match="runner_refused_credentials"):
        await backend.execute(execute_request())
    await backend.aclose()
    assert len(ingress.executed) == 1


async def test_a_redirect_takes_no_token_anywhere(ingress: FakeRunner, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    async with FakeRunner() as elsewhere:
        backend = await open_knative(KnativeSettings(base_url=ingress.url, token_file=path))
        ingress.redirects["app.js"] = f"{elsewhere.url}/stolen"
        with pytest.raises(RunnerProtocolError):
            await backend.fetch_asset(asset_request("app.js"))
        await backend.aclose()
        assert elsewhere.received == []
