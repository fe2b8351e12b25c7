"""What goes wrong in a call, and how its caller hears of it."""

import pytest

from tests.fakes.runner import Envelope, FakeRunner, HttpAnswer
from tests.gateway.harness import Gateway, in_front_of, running

HELLO = "/api/ext/acme.crm/hello"


async def test_a_guests_own_failure_is_the_guests_answer(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.append(Envelope(status=503, body=b"my own words"))
    async with gateway.client.get(gateway.url + HELLO) as answer:
        assert answer.status == 503
        assert await answer.read() == b"my own words"


async def test_a_guests_answer_is_one_that_http_can_have(
    gateway: Gateway, runner: FakeRunner
) -> None:
    told_twice = {"Content-Type": "a/b", "content-type": "text/css", "ETag": ""}
    runner.script.extend(
        [
            Envelope(headers=told_twice, body=b"a"),
            Envelope(headers={"content-type": ""}, body=b"a"),
            Envelope(status=205, headers={"content-type": "text/css"}, body=b"reset"),
        ]
    )
    said = []
    for _ in range(3):
        async with gateway.client.get(gateway.url + HELLO) as answer:
            types, tags = answer.headers.getall("content-type"), answer.headers.getall("etag", [])
            said.append((answer.status, types, tags, answer.headers["content-length"]))
    assert said == [
        (200, ["text/css"], [], "1"),
        (200, ["application/octet-stream"], [], "1"),
        (205, ["text/css"], [], "0"),
    ]


@pytest.mark.parametrize(
    ("answer", "status", "code", "reason"),
    [
        (Envelope(error="execute_failed: s3cret"), 502, "extension_failed", "execute_failed"),
        (Envelope(error="execute_timeout"), 504, "runner_timeout", "execute_timeout"),
        (HttpAnswer(body=b"not json s3cret"), 502, "bad_gateway", "answer_not_json"),
        (HttpAnswer(status=500, body=b"s3cret"), 502, "bad_gateway", "unexpected_status_500"),
        (HttpAnswer(status=401, body=b"s3cret"), 502, "bad_gateway", "runner_refused_credentials"),
        (HttpAnswer(status=413), 413, "payload_too_large", None),
        (HttpAnswer(status=503, headers={"retry-after": "7"}), 503, "runner_overloaded", None),
        (HttpAnswer(status=504), 504, "runner_timeout", None),
    ],
    ids=["guest", "guest-timeout", "not-json", "500", "401", "413", "503", "504"],
)  # fmt: skip
async def test_a_runners_failure_is_told_by_its_code_and_nothing_of_its_text(
    gateway: Gateway,
    runner: FakeRunner,
    answer: Envelope | HttpAnswer,
    status: int,
    code: str,
    reason: str | None,
) -> None:
    runner.script.append(answer)
    told, problem = await gateway.problem("GET", HELLO)
    assert (told, problem["error"]) == (status, code)
    assert problem["backend"] == "docker"
    assert "s3cret" not in str(problem)
    if reason:
        assert problem["reason"] == reason


async def test_an_engine_that_did_not_start_is_worth_another_try(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.append(Envelope(error="engine_init_failed: s3cret"))
    async with gateway.client.get(gateway.url + HELLO) as answer:
        problem = await answer.json()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (problem["error"], problem["reason"]) == ("runner_unreachable", "engine_init_failed")
    assert problem["retryable"] is True
    assert "s3cret" not in str(problem)


async def test_an_overloaded_runners_retry_after_is_passed_on(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runner.script.append(HttpAnswer(status=503, headers={"retry-after": "7"}))
    async with gateway.client.get(gateway.url + HELLO) as answer:
        assert answer.headers["retry-after"] == "7"


async def test_a_runner_that_is_not_there_is_unreachable_at_once(
    gateway: Gateway, runner: FakeRunner
) -> None:
    await runner.stop()
    async with gateway.client.get(gateway.url + HELLO) as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        problem = await answer.json(content_type=None)
    assert problem["error"] == "runner_unreachable"
    assert problem["phase"] == "connect"
    assert problem["retryable"] is True


async def test_a_limited_first_byte_limits_the_guest_too(runner: FakeRunner) -> None:
    async with (
        running(in_front_of(runner, RUNNER_FIRST_BYTE_TIMEOUT_MS="4000")) as gateway,
        gateway.client.get(gateway.url + HELLO) as answer,
    ):
        assert answer.status == 200
    (call,) = runner.executed
    assert call.envelope["limits"]["timeout_ms"] == 3600


async def test_a_silent_runner_runs_out_of_the_first_byte_budget(runner: FakeRunner) -> None:
    runner.may_answer.clear()
    async with running(in_front_of(runner, RUNNER_FIRST_BYTE_TIMEOUT_MS="50")) as gateway:
        status, problem = await gateway.problem("GET", HELLO)
    assert (status, problem["error"], problem["phase"]) == (504, "runner_timeout", "first_byte")
