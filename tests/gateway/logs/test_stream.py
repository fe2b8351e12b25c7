"""The logs as operators read them: both at once, by request, and never without a bound."""

import asyncio
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse
from click.testing import CliRunner
from yarl import URL

from gateway.cli import cli
from gateway.keys import STATE
from gateway.logs.lines import configure_logs
from gateway.logs.tap import KEPT_LINES, MAX_WATCHERS, QUEUE_LINES, TAP, LogTap
from gateway.verbs.certificates import make_certificates
from tests.fakes.docker_engine import FakeEngine, container
from tests.fakes.runner import FakeRunner
from tests.gateway.harness import Gateway, in_front_of, running

AT = "2020-01-01T00:00:00.000000001Z"
LOGS = "/gateway/v1/logs"


@pytest.fixture(autouse=True)
def written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info", sys.stdout)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    with TemporaryDirectory(prefix="engine-") as folder:
        async with FakeEngine(Path(folder) / "docker.sock") as fake:
            yield fake


@asynccontextmanager
async def found_by(engine: FakeEngine, runner: FakeRunner, **more: str) -> AsyncIterator[Gateway]:
    engine.add(container("runner-1", port=runner.port))
    environ = in_front_of(runner, DOCKER_HOST=engine.url, **more)
    del environ["RUNNER_DOCKER_HOST"]
    async with running(environ) as gateway:
        yield gateway


async def events(answer: ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


async def test_a_request_is_found_in_both_logs_by_its_id(
    engine: FakeEngine, runner: FakeRunner
) -> None:
    async with found_by(engine, runner) as gateway:
        named = {"x-request-id": "find-me-1"}
        async with gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello", headers=named):
            pass
        await engine.write("runner-1", AT, '{"request_id":"find-me-1","did":"it"}\n')
        await engine.write("runner-1", AT, "about another one\n")
        params = {"follow": "false", "request": "find-me-1"}
        async with gateway.client.get(gateway.url + LOGS, params=params) as answer:
            assert answer.content_type == "text/event-stream"
            found = [event async for event in events(answer)]
    sources = [event["source"] for event in found]
    assert sources[0] == "runner"  # in the order of time
    assert sources[1:] == ["gateway"] * (len(found) - 1)
    assert any("request_answered" in event["text"] for event in found)
    assert all("find-me-1" in event["text"] for event in found)
    assert found[0]["container"] == "runner-1"


async def test_following_tells_what_happens_in_either_log(
    engine: FakeEngine, runner: FakeRunner
) -> None:
    async with found_by(engine, runner) as gateway:
        params = {"request": "find-me-2"}
        async with gateway.client.get(gateway.url + LOGS, params=params) as answer:
            assert answer.headers["cache-control"] == "no-cache, no-transform"
            async with aclosing(events(answer)) as arriving:  # type: ignore[type-var]
                await engine.write("runner-1", AT, "find-me-2 ran\n")
                assert (await anext(arriving))["text"] == "find-me-2 ran"
                named = {"x-request-id": "find-me-2"}
                async with gateway.client.get(f"{gateway.url}/api/ext/no/pe", headers=named):
                    pass
                assert (await anext(arriving))["source"] == "gateway"


async def test_a_secret_in_the_runners_log_is_masked(
    engine: FakeEngine, runner: FakeRunner
) -> None:
    async with found_by(engine, runner) as gateway:
        await engine.write("runner-1", AT, "token a-service-token-for-tests leaked\n")
        async with gateway.client.get(f"{gateway.url}{LOGS}?follow=false") as answer:
            text = await answer.text()
    assert "leaked" in text
    assert "a-service-token-for-tests" not in text


async def test_a_reader_is_let_go_when_the_gateway_stops(gateway: Gateway) -> None:
    async with gateway.client.get(gateway.url + LOGS) as answer:
        gateway.app[STATE].stopping = True
        async with asyncio.timeout(10):
            await answer.read()


async def test_only_operators_read_logs(runner: FakeRunner) -> None:
    token = "an-admin-token-for-tests"
    async with running(in_front_of(runner, GATEWAY_ADMIN_TOKEN=token)) as gateway:
        status, _ = await gateway.problem("GET", LOGS)
        assert status == 401
        headers = {"authorization": f"Bearer {token}"}
        async with gateway.client.head(gateway.url + LOGS, headers=headers) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("follow=perhaps", "not_a_boolean"),
        ("tail=-1", "not_a_line_count"),
        ("tail=1001", "not_a_line_count"),
        ("request=a%20b", "not_a_request_id"),
    ],
)
async def test_a_malformed_question_is_refused(gateway: Gateway, query: str, reason: str) -> None:
    status, problem = await gateway.problem("GET", f"{LOGS}?{query}")
    assert (status, problem["reason"]) == (400, reason)


async def test_more_readers_than_places_are_refused(gateway: Gateway) -> None:
    watching = [TAP.watching() for _ in range(MAX_WATCHERS)]
    for each in watching:
        each.__enter__()
    try:
        status, problem = await gateway.problem("GET", LOGS)
        assert (status, problem["reason"]) == (429, "too_many_log_readers")
    finally:
        for each in watching:
            each.__exit__(None, None, None)


async def test_a_watcher_that_is_too_slow_loses_lines_and_learns_how_many() -> None:
    tap = LogTap()
    with tap.watching() as watcher:
        for number in range(QUEUE_LINES + 7):
            tap.publish(str(number))
        await asyncio.sleep(0)
        assert watcher.lines.qsize() == QUEUE_LINES
        assert watcher.lost == 7


def test_kept_lines_take_up_what_they_are_long() -> None:
    tap = LogTap()
    line = {"name": "x" * 400}
    tracemalloc.start()
    for _ in range(KEPT_LINES):
        # Its result sits in a buffer of kilobytes, however short it is.
        tap.publish(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < KEPT_LINES * 600
    assert tap.recent() == [orjson.dumps(line).decode()] * KEPT_LINES


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a developer's own .env must not decide a test


async def verb(*arguments: str, **environ: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(CliRunner().invoke, cli, arguments, obj=environ)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.usefixtures("elsewhere")
async def test_explain_names_every_container_and_the_verdict(engine: FakeEngine) -> None:
    engine.add(container("runner-1", port=8085))
    engine.add(container("runner-2", number=2))
    code, out, _ = await verb("explain", DOCKER_HOST=engine.url)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"engine   {engine.url} (DOCKER_HOST)"
    assert "http://127.0.0.1:8085" in lines[3]
    assert "taken: published_port" in lines[3]
    assert "not taken: port_not_published; publish the port" in lines[4]
    code, out, _ = await verb("explain", "--json", DOCKER_HOST=engine.url)
    assert [each["taken"] for each in json.loads(out)["candidates"]] == [True, False]
    assert "hush" not in out


@pytest.mark.usefixtures("elsewhere")
async def test_explain_ends_with_1_when_no_container_takes_calls(engine: FakeEngine) -> None:
    code, _, err = await verb("explain", DOCKER_HOST=engine.url)
    assert (code, "no runner: no_container" in err) == (1, True)
    code, out, _ = await verb("explain", "--json", DOCKER_HOST=f"{engine.url}-gone")
    assert (code, json.loads(out)["problem"]["reason"]) == (1, "engine_unreachable")
    code, out, _ = await verb("explain", RUNNER_DOCKER_HOST="http://127.0.0.1:1")
    assert (code, "nothing is looked for" in out) == (0, True)


@pytest.mark.usefixtures("elsewhere")
async def test_explain_names_the_fallback_where_the_gateway_would_use_it(
    engine: FakeEngine, runner: FakeRunner
) -> None:
    for reachable in (engine.url, f"{engine.url}-gone"):
        told = {"DOCKER_HOST": reachable, "RUNNER_BASE_URL": runner.url}
        code, out, err = await verb("explain", "--json", **told)
        document = json.loads(out)
        assert (code, err, document["ok"]) == (0, "", True)
        assert (document["address"], document["why"]) == (runner.url, "fallback")
        code, out, err = await verb("explain", **told)
        assert (code, err, out.splitlines()[2].split()[:2]) == (0, "", ["runner", runner.url])


@pytest.mark.usefixtures("elsewhere")
async def test_explain_names_no_fallback_beside_a_container_that_takes_no_calls(
    engine: FakeEngine,
) -> None:
    engine.add(container("runner-1"))
    told = {"DOCKER_HOST": engine.url, "RUNNER_BASE_URL": "http://127.0.0.1:9"}
    code, out, _ = await verb("explain", "--json", **told)
    document = json.loads(out)
    assert (code, document["ok"], "address" in document) == (1, False, False)
    assert document["problem"]["reason"] == "port_not_published"


@pytest.mark.usefixtures("elsewhere")
async def test_a_gateway_that_refuses_is_a_line_of_json_too(runner: FakeRunner) -> None:
    async with running(in_front_of(runner, GATEWAY_ADMIN_TOKEN="hush-admin-token")) as gateway:
        told = {"GATEWAY_PORT": str(gateway.port), "GATEWAY_ADMIN_TOKEN": "another"}
        code, out, err = await verb("logs", "--json", **told)
        assert (code, err, out.count("\n")) == (1, "", 1)
        refusal = (
            "the gateway refuses: Nobody knows who calls: wrong admin token."
            " (HTTP 401; see GATEWAY_ADMIN_TOKEN)"
        )
        assert json.loads(out) == {"ok": False, "problem": refusal}
        code, out, err = await verb("logs", **told)
        assert (code, out, err) == (1, "", f"Error: {refusal}\n")


@pytest.mark.usefixtures("elsewhere")
async def test_what_answers_and_is_no_gateway_is_called_so(runner: FakeRunner) -> None:
    port = str(URL(runner.url).port)
    code, _, err = await verb("logs", GATEWAY_PORT=port)
    assert (code, err) == (1, f"Error: {runner.url} is no gateway: it answers HTTP 404\n")


@pytest.mark.usefixtures("elsewhere")
async def test_a_gateway_without_the_tls_that_is_configured_here_is_not_called_absent(
    runner: FakeRunner, tmp_path: Path
) -> None:
    made = make_certificates(tmp_path)
    tls = {"GATEWAY_TLS_CERT": str(made.server), "GATEWAY_TLS_KEY": str(made.server_key)}
    port = str(URL(runner.url).port)
    code, _, err = await verb("logs", GATEWAY_PORT=port, **tls)
    assert (code, "speaks no TLS" in err, "no gateway answers" in err) == (1, True, False)


@pytest.mark.usefixtures("elsewhere")
async def test_logs_asks_the_gateway_and_without_one_the_engine(
    engine: FakeEngine, runner: FakeRunner
) -> None:
    async with found_by(engine, runner) as gateway:
        await engine.write("runner-1", AT, "from \x1b[31mthe\x1b[0m runner\n")
        told = {"DOCKER_HOST": engine.url, "GATEWAY_PORT": str(gateway.port)}
        code, out, err = await verb("logs", **told)
        assert (code, err) == (0, "")
        assert "runner-1 | from \\x1b[31mthe" in out
        assert "gateway | {" in out
    code, out, err = await verb("logs", "--json", **told)
    assert (code, "no gateway answers" in err) == (0, True)
    assert json.loads(out)["container"] == "runner-1"
