"""Where things are, and what no file may do."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.repo.files import PACKAGES, ROOT, modules, shown, text_files

LONGEST_MODULE = 400
NAMELESS = {"common", "helpers", "manager", "misc", "util", "utils"}
PUBLIC_REGISTRIES = ("pypi." + "org", "pythonhosted." + "org", "npmjs." + "org", "golang." + "org")
SOMEBODYS_FOLDER = re.compile(r"(?<![\w.])/(root|work|Users/\w+|home/(?!user\b)\w+)/")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                yield node.module or ""
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_documented_folders_and_files_exist() -> None:
    folders = (*PACKAGES, "static/problems", "tests", "docs", "examples", "scripts")
    files = ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt", ".ci/run", "README.md")
    missing = [name for name in folders if not (ROOT / name).is_dir()]
    missing += [name for name in files if not (ROOT / name).is_file()]
    assert missing == []


def test_no_module_outgrows_one_idea() -> None:
    long = {
        shown(path): lines
        for path in modules()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_every_module_says_what_it_is_and_is_named_by_its_idea() -> None:
    for path in modules():
        assert path.stem not in NAMELESS, shown(path)
        source = path.read_text(encoding="utf-8")
        if source:
            assert ast.get_docstring(ast.parse(source)), shown(path)


def test_only_the_command_line_reads_the_process_environment() -> None:
    readers = {
        shown(path)
        for path in modules()
        if re.search(r"\bos\.(environ|getenv)\b", path.read_text(encoding="utf-8"))
    }
    assert readers == {"gateway/__main__.py", "gateway/cli.py"}


def test_a_backend_never_sees_a_web_request() -> None:
    # import-linter holds the other directions; it cannot name a part of a foreign package.
    sources = (path for path in modules() if shown(path).startswith("backends/"))
    assert [shown(path) for path in sources if "aiohttp.web" in set(imported(path))] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    # Those for the type checker alone count: a circle of types is one to whoever reads it.
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules()
    }
    graph = {name: {*imported(path)} & names.keys() - {name} for name, path in names.items()}
    TopologicalSorter(graph).prepare()  # CycleError names them


def test_nothing_imports_a_mocking_library() -> None:
    sources = (path for path in text_files() if path.suffix == ".py")
    users = [
        shown(path)
        for path in sources
        if {"unittest.mock", "mock", "pytest_mock"} & set(imported(path))
    ]
    assert users == []


@pytest.mark.parametrize("registry", PUBLIC_REGISTRIES)
def test_no_file_names_a_package_registry(registry: str) -> None:
    # A lock file that does would pin where to download from, besides what.
    named = [shown(path) for path in text_files() if registry in path.read_text(encoding="utf-8")]
    assert named == []


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    places = [
        f"{shown(path)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if SOMEBODYS_FOLDER.search(line) or f"{ROOT}/" in line
    ]
    assert places == []
