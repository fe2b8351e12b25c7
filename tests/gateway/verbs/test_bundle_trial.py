"""Installing says at once that a handler cannot run."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.embedded import trial
from backends.embedded.engine import WasmEngine
from backends.settings import EmbeddedSettings
from gateway.cli import cli
from gateway.verbs.bundle_trial import HandlerTrials
from tests.backends.embedded import wat

REFUSED = wat.importing("wasi:http/types@0.2.0")
WARNING = (
    "dist/main.wasm: cannot run in the embedded backend,"
    " execute_link_failed: interface wasi:http/types@0.2.0 is not in the world; build without it,"
    " and ask other hosts through alga:extension/http"
)


def test_install_warns_of_a_component_that_cannot_run(tmp_path: Path) -> None:
    wat.install(tmp_path, REFUSED)
    # Somebody else's folder: that it is not used is no line of a report.
    engine = WasmEngine(max_guests=1)
    folder = tmp_path / "compiled" / engine.fingerprint
    engine.close()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    environ = {"RUNNER_BUNDLE_DIR": str(tmp_path)}
    arguments = ("bundle", "install", str(tmp_path / "bundle.tar.zst"))
    told = CliRunner().invoke(cli, arguments, obj=environ)
    assert told.exit_code == 0
    assert told.stderr.splitlines()[-1] == f"warning: {WARNING}"
    as_json = CliRunner().invoke(cli, (*arguments, "--json"), obj=environ)
    assert json.loads(as_json.stdout)["warnings"][-1] == WARNING


def test_a_component_that_did_not_change_is_not_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def noting(settings: EmbeddedSettings, content_hash: str) -> str | None:
        tried.append(content_hash)
        return await trial.problem_with(settings, content_hash)

    monkeypatch.setattr("gateway.verbs.bundle_trial.problem_with", noting)
    bundles = [
        wat.install(tmp_path, REFUSED),
        wat.install(tmp_path, REFUSED, ["cap:log.emit"]),
        wat.install(tmp_path, wat.ECHO),
    ]
    trials = HandlerTrials(EmbeddedSettings(bundle_dir=tmp_path))
    assert [trials.warnings(each) for each in bundles] == [(WARNING,), (WARNING,), ()]
    assert tried == [bundles[0], bundles[2]]


def test_what_a_component_names_means_nothing_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def problem(*_: object) -> str:
        return "\x1b[2J" + "x" * 1000

    monkeypatch.setattr("gateway.verbs.bundle_trial.problem_with", problem)
    (warning,) = HandlerTrials(EmbeddedSettings(bundle_dir=tmp_path)).warnings(
        wat.install(tmp_path, wat.ECHO)
    )
    assert warning.isprintable()
    assert len(warning) < 400
