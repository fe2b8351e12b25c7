"""A failure that nobody expected is told to the operator, and to nobody else."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.installs.contract import Install
from gateway.keys import FAST_PATH
from gateway.logs.lines import configure_logs
from middleware import failure_log
from tests.fakes.runner import FakeRunner
from tests.gateway.harness import Gateway, KnownInstalls, in_front_of, running

WORDS = "what the client said"


class Broken(KnownInstalls):
    """Installs with a defect, whose exceptions quote the client."""

    def known(self, tenant_id: str, extension: str, /) -> Install:
        try:
            int(WORDS)
        except ValueError as cause:
            raise LookupError(WORDS) from cause
        return super().known(tenant_id, extension)


@pytest.fixture(params=["fast path", "the library's way"])
async def broken(request: pytest.FixtureRequest, runner: FakeRunner) -> AsyncIterator[Gateway]:
    failure_log._written.clear()
    async with running(in_front_of(runner), Broken()) as gateway:
        if request.param != "fast path":
            del gateway.app._state[FAST_PATH]
        yield gateway


async def failed(gateway: Gateway) -> tuple[str, list[Any]]:
    """Fail once: the id of the request, and the lines about it."""
    with capture_logs() as lines:
        status, problem = await gateway.problem("GET", "/api/ext/acme.crm/hello")
    assert (status, problem["error"]) == (500, "internal_error")
    request_id = problem["requestId"]
    return request_id, [line for line in lines if line.get("request_id") == request_id]


async def test_its_class_and_the_way_to_it_are_logged(broken: Gateway) -> None:
    _, lines = await failed(broken)
    (line,) = [line for line in lines if line["event"] == "request_failed"]
    assert line["log_level"] == "error"
    assert line["route"] == "/api/ext/{extension}/{path}"
    assert line["failure"] == "LookupError"
    assert line["raised_at"].startswith(f"{__name__}:")
    way: str = line["exception"]
    assert "raise LookupError(WORDS) from cause\nLookupError\n" in way
    assert "int(WORDS)\n" in way
    assert way.endswith("\nValueError")


async def test_what_it_says_is_in_no_line(broken: Gateway) -> None:
    stream = io.StringIO()
    configure_logs("json", "debug", stream)
    await broken.problem("GET", "/api/ext/acme.crm/hello")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {"request_failed", "request_answered"} <= {line["event"] for line in lines}
    assert WORDS not in stream.getvalue()


async def test_the_way_to_one_place_is_not_written_again_and_again(broken: Gateway) -> None:
    (_, first), (again, lines) = await failed(broken), await failed(broken)
    assert any("exception" in line for line in first)
    (line,) = [line for line in lines if line["event"] == "request_failed"]
    assert "exception" not in line
    assert (line["failure"], line["request_id"]) == ("LookupError", again)


async def test_a_refusal_is_no_such_failure(gateway: Gateway) -> None:
    with capture_logs() as lines:
        await gateway.problem("GET", "/nowhere")
        await gateway.problem("GET", "/api/ext/nobody/hello")
    assert "request_failed" not in [line["event"] for line in lines]
