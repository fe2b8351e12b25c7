"""What every backend is asked: nothing that changes anything, and every kind of refusal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from backends.ui_url import build_ui_url
from gateway.installs.contract import Install

NOWHERE: Final = "no-such-thing-9f2c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request.

    Attributes:
        after: the field that the answer's validator is sent back in, when there is one.
    """

    name: str
    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    after: str | None = None


def questions(install: Install) -> Iterator[Question]:
    """Everything about this extension that can be asked with GET, HEAD and one refused DELETE."""
    page = build_ui_url(
        "/runner", install.registry_id, install.content_hash, "/", tenant_id=install.tenant_id
    )
    folder, _, query = page.partition("/index.html?")
    yield Question(name="page", method="GET", target=page)
    yield Question(name="page, head alone", method="HEAD", target=page)
    yield Question(name="page, not modified", method="GET", target=page, after="If-None-Match")
    yield Question(name="page, a part", method="GET", target=page, headers={"Range": "bytes=0-9"})
    yield Question(
        name="page, no such part", method="GET", target=page, headers={"Range": "bytes=99999999-"}
    )
    for name, path in (
        ("folder of the page", ""),
        ("missing file", f"{NOWHERE}.js"),
        ("forbidden path", "a%2f..%2f..%2fb"),
    ):
        yield Question(name=name, method="GET", target=f"{folder}/{path}?{query}")
    yield Question(
        name="page address",
        method="GET",
        target=f"/gateway/v1/extensions/{install.install_id}/ui-url",
    )
    yield from _calls(install)
    yield Question(name="unknown extension", method="GET", target=f"/api/ext/{NOWHERE}/")


def _calls(install: Install) -> Iterator[Question]:
    base = f"/api/ext/{install.install_id}"
    declared = {(one.method, one.path) for one in install.endpoints or ()}
    paths = sorted(path for method, path in declared if method == "GET" and ":" not in path)
    targets = {path: base + quote(path if path.startswith("/") else f"/{path}") for path in paths}
    for path, target in targets.items():
        yield Question(name=f"GET {path}", method="GET", target=target)
        yield Question(name=f"HEAD {path}", method="HEAD", target=target)
        if ("DELETE", path) not in declared:
            yield Question(name=f"DELETE {path}, refused", method="DELETE", target=target)
    for path in paths[:1]:
        twice = f"{targets[path]}?name=first&other=+%20&name=last"
        yield Question(name=f"GET {path}, a field twice", method="GET", target=twice)
    yield Question(name="undeclared endpoint", method="GET", target=f"{base}/{NOWHERE}")
