"""`certs` as a shell sees it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["certs", *arguments], obj={})


def test_what_is_printed_is_what_to_write_and_how_to_trust_it() -> None:
    done = run()
    assert done.exit_code == 0
    assert "GATEWAY_TLS_CERT=.gateway/tls/server.pem" in done.stdout
    assert "update-ca-certificates" in done.stdout
    assert "NODE_EXTRA_CA_CERTS" in done.stdout
    assert "PRIVATE KEY" not in done.output
    assert "not again" in run().stdout


def test_the_json_names_the_settings(tmp_path: Path) -> None:
    document = json.loads(run("--json", "--out", "tls").stdout)
    assert document["authority_is_new"] is True
    for file in document["settings"].values():
        assert (tmp_path / file).is_file()


def test_an_authority_that_is_damaged_is_found_wrong_and_left_alone(tmp_path: Path) -> None:
    run("--out", "tls")
    (tmp_path / "tls" / "ca-key.pem").unlink()
    before = (tmp_path / "tls" / "ca.pem").read_bytes()
    done = run("--out", "tls")
    assert done.exit_code == 1
    assert "one is missing" in done.stderr
    assert (tmp_path / "tls" / "ca.pem").read_bytes() == before
