"""Settings that do not count, tokens that everybody knows, limits that are too low."""

import resource
import tomllib
from pathlib import Path

import pytest

from gateway.doctor.findings import Level
from gateway.doctor.process import AIOHTTP_FLOOR
from tests.gateway.doctor.rig import of, the_one, visit

BEYOND_LOOPBACK = {"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": "0123456789abcdef"}
WELL_KNOWN = "local-runner-key"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.env"
    file.write_text("GATEWAY_LOG_LEVEL=debug\n")
    return file


async def test_every_problem_of_bad_settings_is_told_and_nothing_else() -> None:
    findings = await visit(GATEWAY_PORT="x", RUNNER_BACKEND="knative")
    assert {finding.check for finding in findings} == {"settings"}
    assert the_one(findings, "settings", "GATEWAY_PORT").level is Level.FAILED
    assert the_one(findings, "settings", "RUNNER_BASE_URL").level is Level.FAILED


async def test_a_misspelt_variable_leads_to_the_right_one() -> None:
    findings = await visit(GATEWAY_PROT="1")
    assert "GATEWAY_PORT" in the_one(findings, "settings", "GATEWAY_PROT").fix


async def test_variables_of_other_programs_are_one_finding() -> None:
    found = the_one(await visit(RUNNER_IMAGE="x", GATEWAY_URL="x"), "settings", "not read")
    assert "GATEWAY_URL, RUNNER_IMAGE" in found.what


async def test_a_key_that_nobody_has_to_show_is_named() -> None:
    found = the_one(await visit(GATEWAY_PROXY_KEY="x" * 16), "settings", "GATEWAY_PROXY_KEY")
    assert found.level is Level.WARNING
    assert "GATEWAY_AUTH=proxy" in found.fix


async def test_a_key_that_another_program_reads_is_named() -> None:
    found = the_one(await visit(ALGA_AUTH_KEY="hush"), "settings", "ALGA_AUTH_KEY")
    assert "RUNNER_CONFIG_API_TOKEN" in found.what
    assert "hush" not in repr(found)


async def test_a_pinned_variable_is_named(env_file: Path) -> None:
    findings = await visit(GATEWAY_ENV_FILE=str(env_file), GATEWAY_LOG_LEVEL="error")
    found = the_one(findings, "settings", "GATEWAY_LOG_LEVEL")
    assert found.level is Level.WARNING


async def test_a_proxy_that_is_ignored_is_named_without_its_password() -> None:
    proxy = {"https_proxy": "http://me:hush@proxy.example:3128"}
    findings = await visit(RUNNER_BASE_URL="http://127.0.0.1:9", **proxy)
    assert the_one(findings, "settings", "https_proxy").level is Level.WARNING
    assert "hush" not in repr(findings)
    assert not [one for one in await visit(**proxy) if "https_proxy" in one.what]


@pytest.mark.parametrize(
    ("environ", "level"), [({}, Level.WARNING), (BEYOND_LOOPBACK, Level.FAILED)]
)
async def test_a_well_known_token_is_worse_outside_development(
    environ: dict[str, str], level: Level
) -> None:
    findings = await visit(RUNNER_SERVICE_TOKEN=WELL_KNOWN, **environ)
    found = the_one(findings, "callers", "RUNNER_SERVICE_TOKEN")
    assert found.level is level
    assert "openssl rand" in found.fix
    assert WELL_KNOWN not in repr(findings)


async def test_a_short_token_is_a_warning_outside_development() -> None:
    findings = await visit(GATEWAY_ADMIN_TOKEN="short", **BEYOND_LOOPBACK)
    assert the_one(findings, "callers", "GATEWAY_ADMIN_TOKEN").level is Level.WARNING
    assert [one.level for one in of(await visit(GATEWAY_ADMIN_TOKEN="short"), "callers")] == [
        Level.OK
    ]


async def test_a_gateway_without_an_operator_is_told() -> None:
    findings = await visit(GATEWAY_HOST="0.0.0.0", **BEYOND_LOOPBACK)
    assert the_one(findings, "callers", "GATEWAY_ADMIN_TOKEN").level is Level.WARNING


async def test_too_few_file_descriptors_are_found() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        found = the_one(await visit(), "process", "open files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.level is Level.WARNING
    assert "ulimit -n" in found.fix


def test_the_floor_of_aiohttp_is_the_one_that_is_installed_by() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    floor = ".".join(map(str, AIOHTTP_FLOOR))
    assert f"aiohttp>={floor},<4" in project["project"]["dependencies"]
