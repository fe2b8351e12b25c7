"""The verbs as a shell sees them: output, standard error, exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner, Result
from wasmtime import wat2wasm

from gateway.cli import cli
from gateway.verbs.certificates import make_certificates
from tests.backends.archives import FILES, MANIFEST
from tests.backends.embedded import wat

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a developer's own .env must not decide a test


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, obj=dict(environ or {}))


def program(
    *arguments: str, flags: Sequence[str] = (), into: IO[str] | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-m", "gateway", *arguments],
        env={"PYTHONPATH": str(ROOT), **environ},
        stdout=into or subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("check",)])
def test_a_python_without_the_dependencies_is_told_where_there_is_one(
    arguments: tuple[str, ...],
) -> None:
    done = program(*arguments, flags=["-S"])  # no site-packages
    assert done.returncode == 2
    assert "make setup" in done.stderr
    assert ".venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize(
    ("arguments", "flags", "environ"),
    [("--help", "", {}), ("check", "-u", {}), ("check --json", "", {"PORT": "x"})],
)
def test_a_report_that_cannot_be_written_is_one_line(
    arguments: str, flags: str, environ: dict[str, str]
) -> None:
    with open("/dev/full", "w") as full:
        done = program(*arguments.split(), flags=flags.split(), into=full, **environ)
    (line,) = done.stderr.splitlines()
    assert line == "Error: standard output takes no more: No space left on device"
    assert done.returncode == 1


def test_a_reader_that_has_gone_is_told_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        done = program("check", into=gone)
    assert (done.returncode, done.stderr) == (1, "")


def test_check_says_what_counts_and_ends_well() -> None:
    done = program("check", GATEWAY_PORT="9999", GATEWAY_ADMIN_TOKEN="hush-admin-token")
    assert done.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["GATEWAY_PORT"] == ["9999", "environment", "static"]
    assert "hush" not in done.stdout + done.stderr


def test_check_reports_every_problem_and_ends_with_1() -> None:
    done = program("check", GATEWAY_PORT="x", RUNNER_BACKEND="knative")
    assert done.returncode == 1
    assert "GATEWAY_PORT" in done.stderr
    assert "RUNNER_BASE_URL" in done.stderr
    assert done.stdout == ""


def test_check_names_pinned_and_unread_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_PORT=1\nGATEWAY_PROT=2\n")
    done = run("check", environ={"GATEWAY_PORT": "3"})
    assert done.exit_code == 0
    assert "note: GATEWAY_PORT in the env file is overruled" in done.stdout
    assert "Did you mean GATEWAY_PORT?" in done.stdout


def test_check_names_variables_of_other_programs_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RUNNER_IMAGE=x\nGATEWAY_PROT=2\nGATEWAY_URL=x\n")
    notes = [line for line in run("check").stdout.splitlines() if line.startswith("note: ")]
    assert notes[0].startswith("note: GATEWAY_PROT is not read")
    assert notes[1:] == ["note: GATEWAY_URL, RUNNER_IMAGE are not read by this program."]


def test_a_name_that_is_no_text_is_json_all_the_same() -> None:
    environ = {"RUNNER_BUNDLE_DIR": os.fsdecode(b"bundles-\xff")}
    rows = json.loads(run("check", "--json", environ=environ).stdout)["settings"]
    assert environ["RUNNER_BUNDLE_DIR"] in {row["value"] for row in rows}


def test_check_warns_of_a_key_that_nobody_has_to_show() -> None:
    environ = {"GATEWAY_PROXY_KEY": "0123456789abcdef"}
    assert "warning: GATEWAY_PROXY_KEY: is set, and not" in run("check", environ=environ).stdout
    (unused,) = json.loads(run("check", "--json", environ=environ).stdout)["unused"]
    assert unused["variable"] == "GATEWAY_PROXY_KEY"
    assert "0123" not in repr(unused)


def test_check_notes_a_key_that_another_program_reads() -> None:
    done = run("check", environ={"ALGA_AUTH_KEY": "hush"})
    assert done.exit_code == 0
    assert (
        "note: ALGA_AUTH_KEY is not read; the registry is asked with RUNNER_CONFIG_API_TOKEN"
        in done.stdout
    )
    assert "hush" not in done.output


def test_check_as_json_is_one_document_either_way(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_PORT=1\nGATEWAY_PROT=2\n")
    good = json.loads(run("check", "--json", environ={"GATEWAY_PORT": "3"}).stdout)
    assert good["ok"] is True
    assert (good["pinned_by_environment"], good["unread"]) == (["GATEWAY_PORT"], ["GATEWAY_PROT"])
    rows = {row["variable"]: row for row in good["settings"]}
    assert rows["GATEWAY_PORT"] == {
        "variable": "GATEWAY_PORT",
        "value": "3",
        "origin": "environment",
        "tier": "static",
    }
    bad = run("check", "--json", environ={"GATEWAY_PORT": "x"})
    assert bad.exit_code == 1
    (problem,) = json.loads(bad.stdout)["problems"]
    assert problem["variable"] == "GATEWAY_PORT"
    assert set(problem) == {"variable", "problem", "fix"}


@pytest.mark.parametrize(
    ("chain", "key", "variable"),
    [
        ("server.pem", "server-key.pem", None),
        ("other.pem", "server-key.pem", "GATEWAY_TLS_CERT"),
        ("server.pem", "other.pem", "GATEWAY_TLS_KEY"),
        ("server.pem", "ca-key.pem", "GATEWAY_TLS_KEY"),
    ],
    ids=["fits", "no-certificate", "no-key", "another-key"],
)
def test_check_looks_into_the_files_for_tls(
    tmp_path: Path, chain: str, key: str, variable: str | None
) -> None:
    make_certificates(tmp_path)
    (tmp_path / "other.pem").write_text("not PEM")
    environ = {"GATEWAY_TLS_CERT": chain, "GATEWAY_TLS_KEY": key}
    done = run("check", "--json", environ=environ)
    blamed = [problem["variable"] for problem in json.loads(done.stdout).get("problems", ())]
    assert blamed == ([] if variable is None else [variable])
    assert done.exit_code == len(blamed)
    text = run("check", environ=environ)
    assert text.exit_code == len(blamed)
    assert (text.stderr == "") is (variable is None)


def test_logs_says_that_it_cannot_know_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text("not PEM")
    environ = {"GATEWAY_TLS_CERT": "other.pem", "GATEWAY_TLS_KEY": "other.pem"}
    done = run("logs", "--json", environ=environ)
    assert (done.exit_code, done.stderr) == (1, "")
    assert "GATEWAY_TLS_CERT" in json.loads(done.stdout)["problem"]


@pytest.mark.parametrize(
    ("verb", "is_one_line"),
    [
        ("check", False),
        ("doctor", False),
        ("explain", False),
        ("parity", False),
        ("logs", True),
        ("bundle list", False),
        (f"bundle install {ROOT}/examples/hello", False),
        ("bundle remove example.hello", False),
        (f"bundle dev {ROOT}/examples/hello", True),
    ],
)
def test_settings_that_cannot_be_used_are_json_where_json_was_asked_for(
    verb: str, is_one_line: bool
) -> None:
    done = run(*verb.split(), "--json", environ={"GATEWAY_PORT": "x"})
    assert (done.exit_code, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert "GATEWAY_PORT" in done.stdout
    assert (done.stdout.count("\n") == 1) is is_one_line


@pytest.mark.parametrize("verb", ["", "serve", "runner"])
def test_nothing_starts_with_settings_that_cannot_be_used(verb: str) -> None:
    done = run(*verb.split(), environ={"GATEWAY_PORT": "x"})
    assert done.exit_code == 1
    assert "GATEWAY_PORT" in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize("verb", ["serve", "runner"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_says_what_it_does_not_read(verb: str, workers: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = program(
        verb,
        GATEWAY_AUHT="proxy",
        GATEWAY_WORKERS=workers,
        GATEWAY_PORT="0",
        RUNNER_BUNDLE_DIR=str(tmp_path / "file"),  # so it cannot start
    )
    said = [json.loads(line) for line in done.stderr.splitlines()]
    (line,) = (each for each in said if each["event"] == "variable_unread")
    assert (line["level"], line["variable"]) == ("warning", "GATEWAY_AUHT")
    assert done.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "no-such-verb",
        "check --no-such-option",
        "bundle",
        "bundle verify no-such-file",
        "bundle pack no-such-folder",
        "bundle remove",
        "runner --port 70000",
        "bundle install . --tenant a/b",
        "bundle install . --tenant=",
        "bundle dev . --tenant a/b",
        "parity --tenant a/b",
        "parity --tenant *",
        "logs --request a/b",
        "logs --request=",
        "runner --host no/host",
        "runner --host 192.0.2.1",  # nobody has this address: a gateway that tried would fail
    ],
)
def test_a_verb_used_wrongly_ends_with_2(arguments: str) -> None:
    assert run(*arguments.split()).exit_code == 2


@pytest.mark.parametrize(
    "verb",
    [
        "",
        "serve",
        "check",
        "runner",
        "certs",
        "doctor",
        "explain",
        "logs",
        "bundle",
        "bundle pack",
        "bundle verify",
        "bundle install",
        "bundle list",
        "bundle remove",
    ],
)
def test_every_verb_explains_itself(verb: str) -> None:
    done = run(*verb.split(), "--help")
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage:")


def test_a_verb_that_goes_on_says_that_its_json_does() -> None:
    for verb in ("logs", "bundle dev"):
        assert "one document a line" in run(*verb.split(), "--help").stdout


def test_help_waits_for_neither_the_validator_nor_the_web_framework_nor_the_engine() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, gateway.cli; print(*sys.modules)",
        ],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not {"aiohttp", "pydantic", "structlog", "wasmtime"} & set(done.stdout.split())


def test_a_folder_that_is_no_extension_is_found_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("bundle", "pack", "empty")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error:")
    as_json = run("bundle", "pack", "empty", "--json")
    assert (as_json.exit_code, as_json.stderr) == (1, "")
    assert json.loads(as_json.stdout)["ok"] is False


def test_a_file_that_is_no_bundle_is_found_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not an archive")
    assert run("bundle", "verify", "file").exit_code == 1


def test_what_deserves_mending_is_told_by_everyone_who_sees_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "extension"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "dist" / "main.wasm").write_bytes(wat2wasm(wat.ECHO))
    (folder / "manifest.json").write_text(json.dumps({**MANIFEST, "capabilities": ["cap:metrics"]}))
    environ = {"RUNNER_BUNDLE_DIR": "bundles"}
    for verb in ("pack extension -o made.tar.zst", "verify made.tar.zst", "install extension"):
        told = run("bundle", *verb.split(), environ=environ)
        assert "warning: capabilities[0]: 'cap:metrics' is not granted" in told.output
        as_json = json.loads(run("bundle", *verb.split(), "--json", environ=environ).stdout)
        assert [warning.partition(" is ")[0] for warning in as_json["warnings"]] == [
            "capabilities[0]: 'cap:metrics'"
        ]


def test_a_bundle_is_packed_verified_installed_listed_and_removed() -> None:
    sample = str(ROOT / "examples" / "hello")
    packed = json.loads(run("bundle", "pack", sample, "-o", "out/hello.tar.zst", "--json").stdout)
    verified = json.loads(run("bundle", "verify", "out/hello.tar.zst", "--json").stdout)
    assert packed["content_hash"] == verified["content_hash"]
    assert verified["extension"] == "example.hello"
    environ = {"RUNNER_BUNDLE_DIR": "bundles", "GATEWAY_DEV_TENANT": "acme"}
    for source in (sample, "out/hello.tar.zst"):  # the second time nothing is new
        done = run("bundle", "install", source, "--json", environ=environ)
        install = json.loads(done.stdout)["install"]
        assert (install["tenant"], install["content_hash"]) == ("acme", packed["content_hash"])
    run("bundle", "install", sample, "--tenant", "*", environ=environ)
    listed = json.loads(run("bundle", "list", "--json", environ=environ).stdout)["installs"]
    assert sorted(one["tenant"] for one in listed) == ["*", "acme"]
    assert "example.hello" in run("bundle", "list", environ=environ).stdout
    for one in listed:
        assert run("bundle", "remove", one["install_id"], environ=environ).exit_code == 0
    assert "nothing is installed" in run("bundle", "list", environ=environ).stdout
    again = run("bundle", "remove", "example.hello", environ=environ)
    assert again.exit_code == 1
    assert "nothing called example.hello is installed" in again.stderr
