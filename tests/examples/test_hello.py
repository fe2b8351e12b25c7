"""The sample extension is what it says: its manifest, its component, its page, its build."""

import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from wasmtime import Engine
from wasmtime.component import Component

from backends.bundles.manifest import parse_manifest

HELLO = Path(__file__).parents[2] / "examples" / "hello"
UI = HELLO / "ui"
USED = {f"alga:extension/{name}" for name in ("types", "context", "logging", "storage", "user")}
BUILD_DEADLINE_S = 300


class Page(HTMLParser):
    """Collects what a content security policy of script-src 'self' would refuse."""

    URL_ATTRIBUTES = frozenset({"href", "src", "action", "poster", "data", "srcset"})

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.handlers: list[str] = []
        self.inline: list[str] = []
        self._inside_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside_code = tag in {"script", "style"}
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(name)
            elif name in self.URL_ATTRIBUTES and value is not None:
                self.urls.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._inside_code = False

    def handle_data(self, data: str) -> None:
        if self._inside_code and data.strip():
            self.inline.append(data)


def imports_of(component: Path) -> set[str]:
    engine = Engine()
    return set(Component.from_file(engine, str(component)).type.imports(engine))


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def page() -> Page:
    parsed = Page()
    parsed.feed((UI / "index.html").read_text())
    return parsed


def test_the_manifest_is_accepted_without_a_problem() -> None:
    manifest = parse_manifest((HELLO / "manifest.json").read_bytes())

    assert manifest.slug == "example.hello"
    assert manifest.runtime == "wasm-js@1"
    assert set(manifest.capabilities) == {
        "cap:context.read",
        "cap:log.emit",
        "cap:storage.kv",
        "cap:user.read",
    }
    assert {(endpoint.method, endpoint.path) for endpoint in manifest.endpoints} == {
        ("GET", "/hello"),
        ("GET", "/visits"),
        ("POST", "/visits"),
        ("DELETE", "/visits"),
        ("POST", "/echo"),
    }
    assert manifest.ui_label == "Hello"


def test_the_committed_component_is_the_one_that_its_digest_names() -> None:
    digest, name = (HELLO / "dist" / "main.wasm.sha256").read_text().split()

    assert name == "main.wasm"
    assert digest == sha256_of(HELLO / "dist" / "main.wasm")


def test_the_component_asks_its_host_only_for_what_it_uses() -> None:
    assert imports_of(HELLO / "dist" / "main.wasm") == USED


def test_the_page_has_no_inline_script_style_or_event_handler() -> None:
    parsed = page()

    assert parsed.inline == []
    assert parsed.handlers == []


def test_everything_that_the_page_loads_lies_beside_it() -> None:
    urls = page().urls

    assert urls
    assert all(re.fullmatch(r"[\w.-]+", url) for url in urls)
    assert all((UI / url).is_file() for url in urls)


@pytest.mark.parametrize("name", ["app.js", "api.js", "style.css"])
def test_no_file_of_the_page_names_another_origin_or_builds_code_from_text(name: str) -> None:
    text = (UI / name).read_text()

    assert not re.search(r"https?://|[\"'(]//|\burl\(|@import", text)
    assert not re.search(r"\beval\(|new Function|innerHTML|document\.write", text)


def test_no_registry_address_is_locked_and_every_package_is_pinned() -> None:
    lock = json.loads((HELLO / "package-lock.json").read_text())
    packages = {path: entry for path, entry in lock["packages"].items() if path}

    assert packages
    assert all("resolved" not in entry for entry in packages.values())
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


@pytest.mark.node
@pytest.mark.timeout(BUILD_DEADLINE_S + 60)
def test_a_fresh_checkout_builds_a_component_with_the_same_imports(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    copy = tmp_path / "hello"
    shutil.copytree(HELLO, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))

    for command in (["ci"], ["run", "build"]):
        done = subprocess.run(
            [npm, *command],
            cwd=copy,
            capture_output=True,
            text=True,
            timeout=BUILD_DEADLINE_S / 2,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    digest = (copy / "dist" / "main.wasm.sha256").read_text().split()[0]
    assert imports_of(copy / "dist" / "main.wasm") == USED
    assert digest == sha256_of(copy / "dist" / "main.wasm")
