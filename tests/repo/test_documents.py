"""What the documents promise exists, and what exists is documented."""

import json
import re
from fnmatch import fnmatchcase
from html import unescape
from pathlib import Path

import click
import pytest

from gateway.cli import cli
from gateway.problems import CODES, CODES_BY_STATUS, PROBLEMS
from gateway.routes.table import GATEWAY_ROUTES, Access
from gateway.settings import load
from gateway.variables.table import VARIABLES
from scripts.settings_table import DOCUMENT, EXAMPLE, documented, example
from tests.repo.files import ROOT, shown, text_files

CODE = re.compile(r"```.*?```|`[^`\n]+`|<code>.*?</code>|<pre>.*?</pre>", re.DOTALL)
TARGET = re.compile(r"(?:^|[`>\n]|&& )make ([a-z]+)")
VERB = re.compile(r"python -m gateway((?: [a-z]+)*)")
RAISED_401 = re.compile(r'(?:\bUnauthenticated\(|\b_refused\(|Error": )"(\w+)"')
DOCUMENTS = sorted(path for path in text_files() if path.suffix in {".md", ".html"})


def commands(path: Path, command: re.Pattern[str]) -> list[str]:
    code = "\n".join(CODE.findall(path.read_text(encoding="utf-8")))
    return command.findall(code)


def test_every_variable_is_in_the_generated_table_and_it_is_current() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert documented(page) == page, "make fmt writes it anew"
    assert [name for name in VARIABLES if f"| `{name}` |" not in page] == []


def test_every_variable_is_in_the_example_file_and_it_is_current() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert example() == text, "make fmt writes it anew"
    assert [name for name in VARIABLES if f"\n#{name}=" not in text] == []


def test_the_example_file_works_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    without = load({})
    (tmp_path / ".env").write_text(EXAMPLE.read_text(encoding="utf-8"))
    copied = load({})
    assert copied.env_file is not None
    assert copied.variables == without.variables


def test_the_example_file_shows_the_true_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    without = load({})
    text = re.sub(r"(?m)^#(?=[A-Z_]+=)", "", EXAMPLE.read_text(encoding="utf-8"))
    (tmp_path / ".env").write_text(text)
    assert load({}).variables == without.variables


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_every_command_in_a_document_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in commands(path, TARGET):
        assert re.search(rf"(?m)^{target}:", makefile), f"make {target}"
    for words in commands(path, VERB):
        found: click.Command = cli
        for word in words.split():
            if not isinstance(found, click.Group):
                break  # what follows are arguments
            assert word in found.commands, f"python -m gateway{words}"
            found = found.commands[word]


def test_who_may_use_a_route_is_documented() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"(?m)^\| (`/[^|]*) \| ([^|]*) \|", page))
    who = {
        Access.PUBLIC: "anybody",
        Access.CALLER: "a caller",
        Access.BROWSER: "a browser",
        Access.SERVICE: "a host application",
        Access.ADMIN: "an operator",
    }
    written = {
        pattern: said for row, said in rows.items() for pattern in re.findall(r"`(.*?)`", row)
    }
    met = set()
    for route in GATEWAY_ROUTES:
        path = f"{route.path.rstrip('/')}/"
        found = [each for each in written if fnmatchcase(path, f"{each.rstrip('/')}/")]
        assert [written[each] for each in found] == [who[route.access]], route.path
        met |= set(found)
    assert met == set(written)


def test_the_example_app_is_developed_for_this_machine_alone() -> None:
    scripts = json.loads((ROOT / "examples/nextjs/package.json").read_text())["scripts"]
    assert scripts["dev"] == "next dev --hostname 127.0.0.1"
    assert scripts["dev"] in (ROOT / "docs/nextjs.md").read_text(encoding="utf-8")


def test_the_readme_says_how_to_run_and_how_to_test() -> None:
    assert {"run", "test"} <= set(commands(ROOT / "README.md", TARGET))


@pytest.mark.parametrize("code", sorted({problem.code for problem in PROBLEMS.values()}))
def test_every_problem_has_its_page_and_the_index_leads_there(code: str) -> None:
    pages = ROOT / "static" / "problems"
    page = (pages / f"{code}.html").read_text(encoding="utf-8")
    assert code in page
    assert f'href="{code}.html"' in (pages / "index.html").read_text(encoding="utf-8")


def test_every_page_and_every_row_of_the_index_is_about_a_problem_that_something_raises() -> None:
    pages = ROOT / "static" / "problems"
    raised = {*CODES.values(), *CODES_BY_STATUS.values()}
    assert set(PROBLEMS) == raised
    assert {page.stem for page in pages.glob("*.html")} - {"index"} == raised
    index = (pages / "index.html").read_text(encoding="utf-8")
    rows = re.findall(
        r"<td>(\d+)</td>\s*<td><a href=\"(\w+)\.html\"><code>\2</code></a></td>"
        r"\s*<td>(.*?)</td>\s*<td>(yes|no)</td>",
        index,
    )
    assert [(int(status), code, unescape(title), word) for status, code, title, word in rows] == [
        (each.status, each.code, each.title, "yes" if each.retryable else "no")
        for each in sorted(PROBLEMS.values(), key=lambda each: each.status)
    ]


def test_no_page_of_a_problem_makes_a_browser_look_for_an_icon_that_is_not_there() -> None:
    pages = (ROOT / "static" / "problems").glob("*.html")
    assert [
        shown(page) for page in pages if '<link rel="icon" href="data:,">' not in page.read_text()
    ] == []


def test_every_reason_why_nobody_knows_who_calls_is_on_its_page() -> None:
    page = (ROOT / "static" / "problems" / "unauthenticated.html").read_text(encoding="utf-8")
    sources = [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "middleware").rglob("*.py")]
    raised = {
        reason
        for path in sources
        for reason in RAISED_401.findall(path.read_text(encoding="utf-8"))
    }
    assert "token_expired" in raised
    listed = "".join(re.findall(r"<dt>.*?</dt>", page, re.DOTALL))
    assert set(re.findall(r"<code>(\w+)</code>", listed)) == raised
