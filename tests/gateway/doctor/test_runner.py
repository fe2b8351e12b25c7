"""Runners that are well, unwell, silent, or live in another time."""

import time
from email.utils import formatdate

import pytest

from gateway.doctor import runner as runner_check
from gateway.doctor import runner_token
from gateway.doctor.findings import Level
from tests.fakes.runner import FakeRunner, HttpAnswer
from tests.gateway.doctor.rig import of, the_one, visit

HEALTHY = b'{"cache_writable":true,"bundle_store":"ok"}'


@pytest.fixture(params=["RUNNER_BASE_URL", "RUNNER_DOCKER_HOST"])
def variable(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reach(variable: str, url: str) -> dict[str, str]:
    backend = "knative" if variable == "RUNNER_BASE_URL" else "docker"
    return {"RUNNER_BACKEND": backend, variable: url}


async def test_a_healthy_runner_with_the_right_time_is_fine(variable: str) -> None:
    async with FakeRunner() as runner:
        findings = await visit(**reach(variable, runner.url))
    assert the_one(findings, "runner", "healthy").level is Level.OK
    assert the_one(findings, "clock", "agrees").level is Level.OK


async def test_a_runner_that_is_not_there_is_found(variable: str) -> None:
    async with FakeRunner() as runner:
        url = runner.url
    found = the_one(await visit(**reach(variable, url)), "runner", "not healthy")
    assert found.level is Level.FAILED


async def test_a_runner_that_never_answers_is_found(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_check, "_OPEN_S", 0.2)
    monkeypatch.setattr(runner_token, "_KNOCK_S", 0.2)
    async with FakeRunner() as runner:
        runner.may_answer.clear()
        found = the_one(await visit(**reach(variable, runner.url)), "runner", "no_answer_in_time")
    assert found.level is Level.FAILED


@pytest.mark.parametrize(
    ("answer", "words", "fix"),
    [
        (HttpAnswer(status=404), "wrong_base_path", "path"),
        (HttpAnswer(status=503, body=b'{"cache_writable":false}'), "cache_not_writable", "cache"),
    ],
)
async def test_what_a_sick_runner_says_leads_to_the_fix(
    answer: HttpAnswer, words: str, fix: str
) -> None:
    async with FakeRunner() as runner:
        runner.health = answer
        found = the_one(await visit(RUNNER_BASE_URL=runner.url), "runner", words)
    assert found.level is Level.FAILED
    assert fix in found.fix


async def test_a_runner_without_its_bundle_store_is_found() -> None:
    async with FakeRunner() as runner:
        runner.health = HttpAnswer(body=b'{"bundle_store":"bundle_store_unreachable"}')
        found = the_one(await visit(RUNNER_BASE_URL=runner.url), "runner", "bundle store")
    assert found.level is Level.WARNING
    assert "BUNDLE_STORE_BASE" in found.fix


@pytest.mark.parametrize(("ahead_s", "words"), [(600, "behind"), (-600, "ahead of")])
async def test_clocks_that_differ_are_found(ahead_s: int, words: str) -> None:
    async with FakeRunner() as runner:
        date = formatdate(time.time() + ahead_s, usegmt=True)
        runner.health = HttpAnswer(body=HEALTHY, headers={"Date": date})
        found = the_one(await visit(RUNNER_BASE_URL=runner.url), "clock", words)
    assert found.level is Level.WARNING


async def test_a_date_that_is_none_is_no_reason_to_fail() -> None:
    async with FakeRunner() as runner:
        runner.health = HttpAnswer(body=HEALTHY, headers={"Date": "yesterday"})
        assert of(await visit(RUNNER_BASE_URL=runner.url), "clock") == []


async def test_a_name_without_an_address_leads_to_the_ingress() -> None:
    findings = await visit(RUNNER_BASE_URL="http://runner.invalid")
    (found,) = of(findings, "runner")
    assert found.level is Level.FAILED
    assert "RUNNER_KNATIVE_HOST" in found.fix
