"""`doctor` as a shell and a continuous build see it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    told = {"GATEWAY_PORT": "0", **(environ or {})}
    return CliRunner().invoke(cli, ["doctor", *arguments], obj=told)


def test_warnings_alone_end_well_and_the_last_line_counts() -> None:
    done = run()
    assert done.exit_code == 0
    *_, last = done.stdout.splitlines()
    assert last.endswith("1 warning, 0 failed")
    assert "fix: python -m gateway bundle install" in done.stdout


def test_a_failure_ends_with_1() -> None:
    done = run(environ={"RUNNER_BASE_URL": "http://127.0.0.1:9"})
    assert done.exit_code == 1
    assert "\nfailed   runner" in done.stdout
    assert done.stderr == ""


def test_the_json_is_one_document_either_way() -> None:
    well = json.loads(run("--json").stdout)
    assert well["ok"] is True
    assert set(well["findings"][0]) == {"check", "level", "what", "why", "fix"}
    sick = run("--json", environ={"GATEWAY_PORT": "x"})
    assert sick.exit_code == 1
    document = json.loads(sick.stdout)
    assert document["ok"] is False
    assert document["counts"]["failed"] == len(document["findings"])


def test_an_app_that_is_not_there_is_a_wrong_use() -> None:
    assert run("--app", "no-such-folder").exit_code == 2
