"""Tokens that are out of date, for somebody else, about to end, or not the runner's."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import jwt
import pytest

from gateway.doctor import runner_token
from gateway.doctor.findings import Level
from tests.fakes.docker_engine import FakeEngine, container
from tests.fakes.runner import FakeRunner, HttpAnswer
from tests.gateway.doctor.rig import of, the_one, visit

ELSEWHERE = "http://127.0.0.1:9"
KEY = "k" * 32
SERVICE_TOKEN = "a-service-token-for-tests"
REFUSED = "the runner refuses"


def token(left_s: float | None = 3600, audience: str = "ingress") -> str:
    claims: dict[str, object] = {"aud": audience}
    if left_s is not None:
        claims["exp"] = int(time.time() + left_s)
    return jwt.encode(claims, KEY, algorithm="HS256")


@pytest.mark.parametrize(
    ("make", "level", "words"),
    [
        (token, Level.OK, "is good for"),
        (lambda: token(None), Level.OK, "holds a token"),
        (lambda: "opaque", Level.OK, "holds a token"),
        (lambda: token(60), Level.WARNING, "expires in"),
        (lambda: token(-60), Level.FAILED, "token_expired"),
        (
            lambda: token(audience="https://kubernetes.default.svc"),
            Level.FAILED,
            "token_of_the_cluster",
        ),
    ],
    ids=["good", "endless", "opaque", "about to end", "ended", "of the cluster"],
)
async def test_a_knative_token_is_judged(
    tmp_path: Path, make: Callable[[], str], level: Level, words: str
) -> None:
    file, content = tmp_path / "token", make()  # not at import, which may be minutes ago
    file.write_text(content)
    findings = await visit(RUNNER_BASE_URL=ELSEWHERE, RUNNER_KNATIVE_TOKEN_FILE=str(file))
    (found,) = of(findings, "token")
    assert found.level is level
    assert words in found.what
    assert content not in repr(findings)


async def test_a_service_token_that_has_expired_is_found_without_being_shown(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text(token(-60))
    findings = await visit(RUNNER_BASE_URL=ELSEWHERE, RUNNER_SERVICE_TOKEN_FILE=str(file))
    (found,) = of(findings, "token")
    assert found.level is Level.FAILED
    assert file.read_text() not in repr(findings)


@pytest.fixture
async def runner() -> AsyncIterator[FakeRunner]:
    """One that lets in whoever knows SERVICE_TOKEN."""
    async with FakeRunner() as runner:
        runner.service_token = SERVICE_TOKEN
        yield runner


Reach = Callable[[FakeRunner], dict[str, str]]


@pytest.fixture(params=["knative", "knative-host", "docker", "docker-discovered"])
async def reach(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reach]:
    """The settings that lead to a runner, for every kind of backend that has one elsewhere."""
    kind = str(request.param)
    if kind != "docker-discovered":
        name = "RUNNER_DOCKER_HOST" if kind == "docker" else "RUNNER_BASE_URL"
        more = {"RUNNER_KNATIVE_HOST": "runner.example"} if kind == "knative-host" else {}
        yield lambda runner: {"RUNNER_BACKEND": kind.partition("-")[0], name: runner.url, **more}
        return
    socket = tmp_path / "docker.sock"
    async with FakeEngine(socket) as engine:

        def discovered(runner: FakeRunner) -> dict[str, str]:
            engine.add(container("runner-1", port=runner.port))
            return {"RUNNER_BACKEND": "docker", "DOCKER_HOST": f"unix://{socket}"}

        yield discovered


async def test_a_runner_that_lets_calls_in_is_fine_and_runs_nothing(
    runner: FakeRunner, reach: Reach
) -> None:
    findings = await visit(RUNNER_SERVICE_TOKEN=SERVICE_TOKEN, **reach(runner))
    assert the_one(findings, "token", "lets the gateway's calls in").level is Level.OK
    (knock,) = runner.executed
    assert knock.envelope == {}
    assert not {"x-alga-tenant", "x-alga-extension"} & {name.lower() for name in knock.headers}


@pytest.mark.parametrize("told", [{}, {"RUNNER_SERVICE_TOKEN": "a-token-of-somebody-else"}])
async def test_a_runner_that_refuses_the_gateway_is_found_though_it_is_healthy(
    runner: FakeRunner, reach: Reach, told: dict[str, str]
) -> None:
    findings = await visit(**reach(runner), **told)
    assert the_one(findings, "runner", "healthy").level is Level.OK
    found = the_one(findings, "token", REFUSED)
    assert found.level is Level.FAILED
    assert ("without a service token" in found.what) == (not told)
    assert "RUNNER_SERVICE_TOKEN" in found.fix
    assert SERVICE_TOKEN not in repr(findings)


async def test_the_token_of_a_file_is_what_the_runner_hears(
    runner: FakeRunner, tmp_path: Path
) -> None:
    file = tmp_path / "service-token"
    environ = {"RUNNER_BASE_URL": runner.url, "RUNNER_SERVICE_TOKEN_FILE": str(file)}
    file.write_text(f"{SERVICE_TOKEN}\n")
    assert the_one(await visit(**environ), "token", "lets the gateway's").level is Level.OK
    file.write_text("a-token-of-yesterday")
    assert the_one(await visit(**environ), "token", REFUSED).level is Level.FAILED


async def test_the_ingress_may_be_the_one_that_refuses(runner: FakeRunner, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token())
    environ = {"RUNNER_BASE_URL": runner.url, "RUNNER_KNATIVE_TOKEN_FILE": str(file)}
    assert "RUNNER_KNATIVE_TOKEN_FILE" in the_one(await visit(**environ), "token", REFUSED).fix


async def test_what_the_reference_runner_says_of_an_empty_envelope_is_no_refusal(
    runner: FakeRunner,
) -> None:
    runner.script.append(HttpAnswer(status=422, body=b"missing field"))
    findings = await visit(RUNNER_BASE_URL=runner.url, RUNNER_SERVICE_TOKEN=SERVICE_TOKEN)
    assert the_one(findings, "token", "lets the gateway's calls in").level is Level.OK


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_an_answer_that_tells_nothing_is_a_warning(runner: FakeRunner, status: int) -> None:
    runner.script.append(HttpAnswer(status=status))
    findings = await visit(RUNNER_BASE_URL=runner.url, RUNNER_SERVICE_TOKEN=SERVICE_TOKEN)
    found = the_one(findings, "token", "is not known")
    assert found.level is Level.WARNING
    assert str(status) in found.what


async def test_a_runner_that_does_not_answer_leaves_it_open(
    runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_token, "_KNOCK_S", 0.2)
    runner.may_answer.clear()
    found = the_one(await visit(RUNNER_BASE_URL=runner.url), "token", "is not known")
    assert found.level is Level.WARNING


async def test_where_no_runner_is_configured_another_check_says_so() -> None:
    findings = await visit(RUNNER_BACKEND="docker", DOCKER_HOST="unix:///no/engine.sock")
    assert of(findings, "token") == []
    assert the_one(findings, "runner", "not healthy").why == "calls are refused"
