"""manifest.json of a bundle: what an extension says about itself.

Parsing is also the lint. Everything that would leave the extension unusable is a problem,
and all problems are reported at once; what runs here but would be refused, ignored or
misread elsewhere is a warning.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import orjson

from backends.bundles.capabilities import KNOWN_CAPABILITIES

MAX_MANIFEST_BYTES = 256 * 1024
MAX_ENDPOINTS = 1000
MAX_NAME_LENGTH = 200
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_KNOWN_FIELDS = frozenset(
    {
        "name", "publisher", "version", "runtime", "capabilities",
        "ui", "api", "assets", "precompiled",
    }
)  # fmt: skip
_VERSION = re.compile(r"\d+\.\d+\.(?:\*|\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)", re.ASCII)
_REVERSE_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ManifestError(ValueError):
    """The manifest cannot be used.

    Args:
        problems: one sentence each, naming the field and what to do about it.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A method and path that the extension's handler answers."""

    method: str  # upper case
    path: str  # begins with "/"; a segment ":name" stands for any one segment
    handler: str  # informative: a component has a single handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an extension says about itself. A claim of its author, not a grant."""

    name: str
    publisher: str  # "": the manifest names none
    version: str  # "1.2.3", "1.2.3-rc.1+build", or "1.2.*" before publishing numbered it
    runtime: str
    capabilities: tuple[str, ...] = ()  # lower case, in the author's order, each once; any name
    endpoints: tuple[Endpoint, ...] = ()
    ui_label: str | None = None  # the menu entry in the application
    client_portal_label: str | None = None  # the menu entry in the client portal
    has_ui: bool = False
    warnings: tuple[str, ...] = ()
    warnings_here: tuple[str, ...] = ()  # those of them that matter before it is published

    @property
    def slug(self) -> str:
        """The name people type: "publisher.name" in lower case."""
        return ".".join(part for part in (self.publisher, self.name) if part).lower()


def parse_manifest(raw: bytes) -> Manifest:
    """Read manifest.json, collecting every problem before giving up.

    Returns:
        The manifest, normalised: methods in upper case, paths with one leading slash and no
        repeated ones, capabilities in lower case. `warnings` holds what deserves mending.

    Raises:
        ManifestError: with all problems, in the order of the format's description.

    >>> parse_manifest(b'{"name": "org.example.hello", "version": "1"}')
    Traceback (most recent call last):
    ...
    backends.bundles.manifest.ManifestError: version: write it as "1.2.3", \
"1.2.3-rc.1" or "1.2.*"; runtime: missing; add the runtime as text, such as "wasm-js@1"
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ManifestError((f"manifest.json: keep it within {MAX_MANIFEST_BYTES} bytes",))
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ManifestError((f"manifest.json: not valid JSON at {where}; mend it",)) from None
    if not _is_object(document):
        raise ManifestError(("manifest.json: make it a JSON object",))
    lint = _Lint()
    manifest = lint.manifest(document)
    if lint.problems:
        raise ManifestError(tuple(lint.problems))
    return manifest


class _Lint:
    """Walks the document once; answers stand-ins where a problem was noted."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.of_publishing: list[str] = []

    def manifest(self, document: Mapping[str, object]) -> Manifest:
        name = self._text(document, "name", "the extension's name", "org.example.hello")
        publisher = ""
        if "publisher" in document:
            publisher = self._text(document, "publisher", "the publisher's name", "example")
        version = self._text(document, "version", "the version", "1.0.0")
        if version and not _VERSION.fullmatch(version):
            self.problems.append('version: write it as "1.2.3", "1.2.3-rc.1" or "1.2.*"')
        runtime = self._text(document, "runtime", "the runtime", "wasm-js@1")
        if runtime and "@" not in runtime and "-" not in runtime:
            self.problems.append('runtime: name a kind and a version, such as "wasm-js@1"')
        capabilities = self._capabilities(document.get("capabilities"))
        ui_label, client_portal_label = self._ui(document.get("ui"))
        endpoints = self._endpoints(document.get("api"))
        self._habits(document, name, publisher)
        return Manifest(
            name=name,
            publisher=publisher,
            version=version,
            runtime=runtime,
            capabilities=capabilities,
            endpoints=endpoints,
            ui_label=ui_label,
            client_portal_label=client_portal_label,
            has_ui=document.get("ui") is not None,
            warnings=(*self.warnings, *self.of_publishing),
            warnings_here=tuple(self.warnings),
        )

    def _habits(self, document: Mapping[str, object], name: str, publisher: str) -> None:
        if not publisher:
            self.of_publishing.append(
                "publisher: missing; add it, so that the extension is known as publisher.name"
            )
        if name and not _REVERSE_DOMAIN.fullmatch(name):
            self.of_publishing.append(
                'name: use a reverse domain name in lower case, such as "org.example.hello"'
            )
        self.of_publishing += (
            f"{_shown(field)}: not a field of the format; remove it, publishing refuses it"
            for field in document
            if field not in _KNOWN_FIELDS
        )

    def _text(self, holder: Mapping[str, object], field: str, what: str, example: str) -> str:
        value = holder.get(field.rpartition(".")[2])
        if value is None:
            self.problems.append(f'{field}: missing; add {what} as text, such as "{example}"')
        elif not isinstance(value, str) or not value.strip():
            self.problems.append(f'{field}: make it {what} as text, such as "{example}"')
        elif len(value) > MAX_NAME_LENGTH or _UNPRINTABLE.search(value):
            self.problems.append(
                f"{field}: keep it printable and within {MAX_NAME_LENGTH} characters"
            )
        else:
            return value.strip()
        return ""

    def _capabilities(self, value: object) -> tuple[str, ...]:
        if value is None:
            return ()
        if not _is_list(value):
            self.problems.append('capabilities: make it a list, such as ["cap:log.emit"]')
            return ()
        names: dict[str, None] = {}
        for position, item in enumerate(value):
            field = f"capabilities[{position}]"
            if not isinstance(item, str) or not item.strip():
                self.problems.append(f'{field}: make it a name, such as "cap:log.emit"')
                continue
            name = item.strip().lower()
            if name not in KNOWN_CAPABILITIES and name not in names:
                self._unknown_capability(name, field)
            names[name] = None
        return tuple(names)

    def _unknown_capability(self, name: str, field: str) -> None:
        remedy = "remove it"
        if (prefixed := f"cap:{name}") in KNOWN_CAPABILITIES:
            remedy = f'write "{prefixed}"'
        self.warnings.append(
            f"{field}: {_shown(name)} is not granted, for no runner knows it; {remedy}"
        )

    def _ui(self, value: object) -> tuple[str | None, str | None]:
        if value is None:
            return None, None
        if not _is_object(value):
            self.problems.append('ui: make it an object with "type" and "entry", or leave it out')
            return None, None
        if value.get("type") != "iframe":
            self.problems.append('ui.type: write "iframe", the only type there is')
        entry = self._text(value, "ui.entry", "the page's path", "ui/index.html")
        if ".." in entry:
            self.problems.append('ui.entry: remove ".."; the path starts at the bundle\'s root')
        elif entry and entry.removeprefix("./") != "ui/index.html":
            self.warnings.append("ui.entry: never consulted; the page is always ui/index.html")
        hooks = value.get("hooks")
        if hooks is None:
            return None, None
        if not _is_object(hooks):
            self.problems.append("ui.hooks: make it an object, or leave it out")
            return None, None
        return self._label(hooks, "appMenu"), self._label(hooks, "clientPortalMenu")

    def _label(self, hooks: Mapping[str, object], menu: str) -> str | None:
        entry = hooks.get(menu)
        if entry is None:
            return None
        if not _is_object(entry):
            self.problems.append(f'ui.hooks.{menu}: make it an object with a "label"')
            return None
        return self._text(entry, f"ui.hooks.{menu}.label", "the menu entry", "Hello")

    def _endpoints(self, api: object) -> tuple[Endpoint, ...]:
        declared = api.get("endpoints") if _is_object(api) else None
        if api is not None and not _is_list(declared):
            self.problems.append('api.endpoints: make it a list, or leave "api" out')
        if not _is_list(declared) or not declared:
            self.warnings.append("api.endpoints: none declared, so every call is answered 404")
            return ()
        if len(declared) > MAX_ENDPOINTS:
            self.problems.append(f"api.endpoints: declare at most {MAX_ENDPOINTS}")
            return ()
        endpoints: dict[tuple[str, str], Endpoint] = {}
        for position, item in enumerate(declared):
            endpoint = self._endpoint(item, f"api.endpoints[{position}]")
            key = (endpoint.method, endpoint.path)
            if key in endpoints and all(key):
                self.warnings.append(
                    f"api.endpoints[{position}]: {endpoint.method} {endpoint.path} is declared"
                    " twice; remove one, the first counts"
                )
            endpoints.setdefault(key, endpoint)
        return tuple(endpoints.values())

    def _endpoint(self, item: object, field: str) -> Endpoint:
        if not _is_object(item):
            self.problems.append(f'{field}: make it an object with "method", "path", "handler"')
            return Endpoint(method="", path="", handler="")
        method = self._text(item, f"{field}.method", "the method", "GET").upper()
        if method and method not in METHODS:
            self.problems.append(f"{field}.method: use one of {', '.join(sorted(METHODS))}")
        handler = self._text(item, f"{field}.handler", "the handler's name", "dist/main")
        return Endpoint(method=method, path=self._path(item, field), handler=handler)

    def _path(self, item: Mapping[str, object], field: str) -> str:
        path = item.get("path")
        if path == "":
            return "/"
        text = self._text(item, f"{field}.path", "the path", "/items/:id")
        if isinstance(path, str) and re.search(r"\s", path):
            self.problems.append(f"{field}.path: remove the white space")
        if ".." in text:
            self.problems.append(f'{field}.path: remove ".."')
        while text.startswith("./"):
            text = text[2:]
        return "/" + re.sub(r"/{2,}", "/", text).removeprefix("/")


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list)


def _shown(field: str) -> str:
    return field if field.isidentifier() and len(field) <= MAX_NAME_LENGTH else ascii(field)[:80]
