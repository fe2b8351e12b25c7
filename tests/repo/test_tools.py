"""Each tool has one home, and installs are repeatable."""

import configparser
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.repo.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXACT = re.compile(r"==[^,*]+")
INTEL_MAC = {"sys_platform": "darwin", "platform_machine": "x86_64"}
OTHERS = (
    {"sys_platform": "darwin", "platform_machine": "arm64"},
    {"sys_platform": "linux", "platform_machine": "x86_64"},
)


def plain(name: str) -> str:
    """A distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_pyproject_says_what_the_code_is_and_setup_cfg_how_it_is_exercised() -> None:
    # A pytest table in pyproject.toml would silently switch the one in setup.cfg off.
    assert not {"pytest", "coverage"} & set(PROJECT["tool"])
    exercised = configparser.ConfigParser()
    exercised.read(ROOT / "setup.cfg")
    assert {section.partition(":")[0] for section in exercised.sections()} <= {"tool", "coverage"}
    assert "tool:pytest" in exercised.sections()


def test_no_tool_has_a_second_home() -> None:
    others = (
        "pytest.ini",
        ".pytest.ini",
        "tox.ini",
        ".coveragerc",
        "ruff.toml",
        ".ruff.toml",
        "mypy.ini",
        ".mypy.ini",
        ".importlinter",
        "setup.py",
        "requirements.txt",
    )
    assert [name for name in others if (ROOT / name).exists()] == []


def pins(machine: dict[str, str]) -> list[Requirement]:
    """What constraints.txt says to a machine."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [pin for pin in found if pin.marker is None or pin.marker.evaluate({**machine})]


@pytest.mark.parametrize(
    "machine", [INTEL_MAC, *OTHERS], ids=lambda machine: "-".join(machine.values())
)
def test_every_dependency_has_one_exact_version(machine: dict[str, str]) -> None:
    pinned = [plain(pin.name) for pin in pins(machine) if EXACT.fullmatch(str(pin.specifier))]
    assert len(pinned) == len(pins(machine)) == len(set(pinned))
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {plain(Requirement(each).name) for each in wanted} - set(pinned) == set()


def test_a_mac_with_an_intel_processor_needs_no_compiler() -> None:
    (cryptography,) = (pin for pin in pins(INTEL_MAC) if pin.name == "cryptography")
    assert "49" not in cryptography.specifier  # from which on there are no wheels for it


def test_the_continuous_build_may_be_started() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
