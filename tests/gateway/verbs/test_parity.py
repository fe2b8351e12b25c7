"""Backends that answer alike, one that does not, and those that are not there."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.app import create_app
from gateway.parity.comparison import Said, compare, differences
from gateway.parity.questions import questions
from gateway.runner_app import ROUTES, runner_settings
from gateway.settings import load
from tests.fakes.runner import FakeRunner
from tests.gateway.harness import INSTALL

TOKEN = "a-service-token-for-tests"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def environ(bundle_dir: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "none.env").touch()
    return {
        "GATEWAY_ENV_FILE": str(tmp_path / "none.env"),
        "RUNNER_BUNDLE_DIR": str(bundle_dir),
        "RUNNER_SERVICE_TOKEN": TOKEN,
        "DOCKER_HOST": f"unix://{tmp_path / 'no.sock'}",  # no engine of this machine's
    }


@pytest.fixture
async def runner_url(environ: dict[str, str]) -> AsyncIterator[str]:
    """A real runner with the same bundles."""
    settings = runner_settings(load(environ), host="127.0.0.1", port=0)
    app: web.Application = create_app(settings, load=lambda: settings, routes=ROUTES)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str


async def parity(environ: Mapping[str, str], *arguments: str) -> Result:
    """Run the verb, in a process of its own: the runner here writes a log, too."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "parity", *arguments,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(REPOSITORY), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stdout, stderr = await process.communicate()
    return Result(process.returncode or 0, stdout.decode(), stderr.decode())


def document(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def test_the_same_bundle_behind_every_backend_answers_alike(
    environ: dict[str, str], runner_url: str
) -> None:
    everywhere = environ | {"RUNNER_DOCKER_HOST": runner_url, "RUNNER_BASE_URL": runner_url}
    result = await parity(everywhere)
    assert result.exit_code == 0, result
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["question", "embedded", "docker", "knative", "answers"]
    assert {line.rsplit(maxsplit=1)[1] for line in lines[1:]} == {"alike"}
    told = document(await parity(everywhere, "example.hello", "--json"))
    assert (told["ok"], told["left_out"]) == (True, {})
    statuses = {each["name"]: set(each["statuses"].values()) for each in told["questions"]}
    assert statuses == {
        "page": {200},
        "page, head alone": {200},
        "page, not modified": {304},
        "page, a part": {206},
        "page, no such part": {416},
        "folder of the page": {200},
        "missing file": {404},
        "forbidden path": {400},
        "page address": {200},
        "GET /hello": {200},
        "GET /hello, a field twice": {200},
        "HEAD /hello": {200},
        "DELETE /hello, refused": {405},
        "GET /visits": {200},
        "HEAD /visits": {200},
        "undeclared endpoint": {404},
        "unknown extension": {404},
    }


async def test_a_runner_that_answers_otherwise_is_found(environ: dict[str, str]) -> None:
    async with FakeRunner() as other:
        told = document(await parity(environ | {"RUNNER_DOCKER_HOST": other.url}, "--json"))
        result = await parity(environ | {"RUNNER_DOCKER_HOST": other.url})
    assert result.exit_code == 1
    assert "differ: " in result.stdout
    assert not told["ok"]
    assert told["left_out"] == {"knative": "not_configured"}
    by_name = {each["name"]: each["differences"] for each in told["questions"]}
    assert "body" in by_name["GET /hello"]
    assert by_name["undeclared endpoint"] == []  # refused before any backend is asked


async def test_one_backend_alone_cannot_be_compared(environ: dict[str, str]) -> None:
    result = await parity(environ)
    assert result.exit_code == 1
    assert "note: docker is left out: " in result.stdout
    assert "no two backends" in result.stderr


async def test_a_runner_that_is_away_is_left_out(environ: dict[str, str]) -> None:
    async with FakeRunner() as gone:
        url = gone.url
    told = document(await parity(environ | {"RUNNER_BASE_URL": url}, "--json"))
    assert (told["ok"], told["compared"]) == (False, ["embedded"])
    assert told["left_out"]["knative"] == "connection_refused"


async def test_what_is_not_installed_is_said(environ: dict[str, str], tmp_path: Path) -> None:
    unknown = await parity(environ, "nobody.knows")
    assert (unknown.exit_code, "not installed" in unknown.stderr) == (1, True)
    as_json = await parity(environ, "nobody.knows", "--json")
    assert (as_json.exit_code, as_json.stderr) == (1, "")
    told = document(as_json)
    assert (told["ok"], "not installed" in told["problem"]) == (False, True)
    nothing = await parity(environ | {"RUNNER_BUNDLE_DIR": str(tmp_path)})
    assert (nothing.exit_code, "nothing is installed" in nothing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (Said(200, (("a", "1"), ("c", "1"), ("c", "2")), b"x"), []),
        (Said(200, (("c", "2"), ("c", "1"), ("a", "1")), b"x"), []),  # in whatever order
        (Said(404, (("a", "1"), ("c", "1"), ("c", "2")), b"x"), ["status"]),
        (Said(200, (("a", "2"), ("b", "1")), b"y"), ["header a", "header b", "header c", "body"]),
        (Said(200, (("a", "1"), ("c", "2")), b"x"), ["header c"]),
        (Said(200, (("a", "1"), ("c", "2"), ("c", "2")), b"x"), ["header c"]),
    ],
)
def test_every_difference_is_named(other: Said, found: list[str]) -> None:
    first = Said(200, (("a", "1"), ("c", "1"), ("c", "2")), b"x")
    assert differences([first, other]) == found


async def test_what_comes_twice_is_asked_about_and_compared() -> None:
    async def first_wins(request: web.Request) -> web.Response:
        return _echo(request.query.getall("name", [""])[0], "Accept")

    async def last_wins(request: web.Request) -> web.Response:
        return _echo(request.query.getall("name", [""])[-1], "Cookie")

    async with AsyncExitStack() as stack:
        origins = {}
        for handler in (first_wins, last_wins):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            server = await stack.enter_async_context(TestServer(app))
            origins[handler.__name__] = str(server.make_url("")).rstrip("/")
        compared = await compare(origins, questions(INSTALL))
    found = {each.question.name: set(each.differences) for each in compared}
    assert found["GET /hello"] == {"header vary"}
    assert found["GET /hello, a field twice"] >= {"header vary", "body"}


def _echo(said: str, vary: str) -> web.Response:
    return web.Response(text=said, headers=[("Vary", vary), ("Vary", "Origin")])
