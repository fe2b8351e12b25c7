"""Each tool has one home, and installs are repeatable."""

import configparser
import re
import tomllib

from tests.repo.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PIN = re.compile(r"([A-Za-z0-9._-]+)==\S+")


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


def test_every_dependency_has_an_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [PIN.fullmatch(line) for line in lines if line and not line.startswith("#")]
    assert all(pins)
    pinned = {plain(pin[1]) for pin in pins if pin}
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {plain(re.split(r"[<>=;\[ ]", requirement)[0]) for requirement in wanted}
    assert names - pinned == set()


def test_the_continuous_build_may_be_started() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
