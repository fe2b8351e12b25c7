"""What the log says of reloads, drains and probes, and how loudly."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.keys import ASSET_CACHE, PROBER
from tests.fakes.runner import FakeRunner, HttpAnswer
from tests.gateway.harness import Gateway, in_front_of, running

Lines = list[Any]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as captured:
        yield captured


def said(lines: Lines, event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


async def reload(gateway: Gateway, *, query: str = "", **changes: str) -> dict[str, Any]:
    gateway.environ.update(changes)
    async with gateway.client.post(f"{gateway.url}/gateway/v1/reload{query}") as answer:
        receipt: dict[str, Any] = await answer.json()
    return receipt


async def drained(generation: int) -> None:
    name = f"drain-{generation}"
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == name))


@pytest.mark.parametrize(
    ("changes", "event", "level"),
    [
        ({"RUNNER_BACKEND": "dokcer"}, "reload_refused", "warning"),
        ({"RUNNER_DOCKER_HOST": "http://127.0.0.1:1"}, "reload_refused", "warning"),
        ({"GATEWAY_PORT": "9999"}, "reload_unchanged", "warning"),
        ({"GATEWAY_PORT": "9999", "GATEWAY_MAX_IN_FLIGHT": "9"}, "backend_swapped", "warning"),
        ({"GATEWAY_MAX_IN_FLIGHT": "9"}, "backend_swapped", "info"),
        ({}, "reload_unchanged", "info"),
    ],
)
async def test_a_reload_that_leaves_something_undone_is_a_warning(
    gateway: Gateway, lines: Lines, changes: dict[str, str], event: str, level: str
) -> None:
    receipt = await reload(gateway, **changes)
    (line,) = said(lines, event)
    assert line["log_level"] == level
    assert (line["outcome"], line["reason"]) == (receipt["outcome"], receipt["reason"])


async def test_a_name_that_a_reload_brings_and_nobody_reads_is_a_warning(
    gateway: Gateway, lines: Lines
) -> None:
    await reload(gateway, GATEWAY_AUHT="proxy")
    (line,) = said(lines, "variable_unread")
    assert (line["log_level"], line["variable"]) == ("warning", "GATEWAY_AUHT")
    assert line["detail"].endswith("Did you mean GATEWAY_AUTH?")


async def test_such_a_name_is_told_once_and_again_when_it_was_gone(
    gateway: Gateway, lines: Lines
) -> None:
    for _ in range(2):  # neither reload changes anything, so the settings of the start stay
        await reload(gateway, GATEWAY_AUHT="proxy")
    assert len(said(lines, "variable_unread")) == 1
    del gateway.environ["GATEWAY_AUHT"]
    await reload(gateway)
    await reload(gateway, GATEWAY_AUHT="proxy")
    assert len(said(lines, "variable_unread")) == 2


async def test_a_key_that_nobody_has_to_show_is_a_warning(gateway: Gateway, lines: Lines) -> None:
    for _ in range(2):
        await reload(gateway, GATEWAY_PROXY_KEY="0123456789abcdef")
    (line,) = said(lines, "variable_unused")
    assert (line["log_level"], line["variable"]) == ("warning", "GATEWAY_PROXY_KEY")
    assert line["fix"].startswith("Set GATEWAY_AUTH=proxy")


async def test_names_of_other_programs_are_noted_together(gateway: Gateway, lines: Lines) -> None:
    await reload(gateway, RUNNER_IMAGE="x", GATEWAY_URL="x")
    (line,) = said(lines, "variables_unread")
    assert (line["log_level"], line["variables"]) == ("info", ("GATEWAY_URL", "RUNNER_IMAGE"))
    assert not said(lines, "variable_unread")


async def test_a_plan_that_would_be_refused_is_none(gateway: Gateway, lines: Lines) -> None:
    await reload(gateway, query="?plan=true", RUNNER_BACKEND="dokcer")
    (line,) = said(lines, "reload_refused_planned")
    assert line["log_level"] == "info"


async def test_the_end_of_a_drain_is_said(gateway: Gateway, lines: Lines) -> None:
    await reload(gateway, GATEWAY_MAX_IN_FLIGHT="9")
    await drained(1)
    (line,) = said(lines, "generation_drained")
    assert (line["log_level"], line["generation"], line["cut_off"]) == ("info", 1, 0)
    assert line["drained_ms"] >= 0


async def test_calls_that_a_drain_cut_off_are_a_warning(runner: FakeRunner, lines: Lines) -> None:
    async with running(in_front_of(runner, GATEWAY_DRAIN_SECONDS="0")) as gateway:
        runner.may_answer.clear()
        call = asyncio.create_task(
            gateway.client.get(f"{gateway.url}/api/ext/acme.crm/hello"), name="call"
        )
        await runner.called()
        async with FakeRunner() as other:
            await reload(gateway, RUNNER_DOCKER_HOST=other.url)
            await drained(1)
        (line,) = said(lines, "generation_drained")
        assert (line["log_level"], line["generation"], line["cut_off"]) == ("warning", 1, 1)
        assert (await call).status == 502


async def test_a_runner_that_is_lost_is_a_warning_and_its_return_is_not(
    gateway: Gateway, runner: FakeRunner, lines: Lines
) -> None:
    prober = gateway.app[PROBER]
    await prober.probe_now()
    lines.clear()
    runner.health = HttpAnswer(status=500)
    for _ in range(2):
        await prober.probe_now()
    runner.health = HttpAnswer()
    await prober.probe_now()
    lost, back = (
        line for line in lines if line["event"] in {"runner_unreachable", "backend_probed"}
    )
    assert lost == {
        "event": "runner_unreachable",
        "log_level": "warning",
        "backend": "docker",
        "generation": 1,
        "detail": lost["detail"],
    }
    assert lost["detail"]
    assert (back["event"], back["log_level"], back["readiness"]) == (
        "backend_probed",
        "info",
        "ready",
    )


async def test_a_start_says_that_ui_files_cannot_be_kept_where_they_should(
    runner: FakeRunner, lines: Lines, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    told = in_front_of(runner, GATEWAY_ASSET_CACHE_DIR=str(tmp_path / "file"))
    async with running(told) as gateway:
        await gateway.app[ASSET_CACHE].settled()
    assert len(said(lines, "asset_cache_disk_failed")) == 1
