"""What an extension may say about itself, and how it hears about its mistakes."""

import orjson
import pytest

from backends.bundles.manifest import MAX_MANIFEST_BYTES, Endpoint, ManifestError, parse_manifest
from tests.backends.archives import MANIFEST


def parse(**changed: object) -> tuple[str, ...]:
    """The warnings of the honest manifest with some members changed; None removes one."""
    document = {**MANIFEST, **changed}
    kept = {name: value for name, value in document.items() if value is not None}
    return parse_manifest(orjson.dumps(kept)).warnings


def problems(**changed: object) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        parse(**changed)
    return caught.value.problems


def test_an_honest_manifest_is_read_without_a_warning() -> None:
    manifest = parse_manifest(orjson.dumps(MANIFEST))

    assert manifest.slug == "example.org.example.hello"
    assert manifest.capabilities == ("cap:log.emit", "cap:http.fetch")
    assert manifest.endpoints == (Endpoint(method="GET", path="/items/:id", handler="dist/main"),)
    assert manifest.ui_label == "Hello"
    assert manifest.warnings == ()


def test_all_problems_are_told_at_once_and_each_names_its_field() -> None:
    found = problems(
        name="",
        version="one",
        runtime="wasm",
        capabilities=[3, " "],
        ui={"type": "page", "hooks": {"appMenu": {"label": " "}}},
        api={"endpoints": [{"method": "FETCH", "path": "/a b/../c"}, "GET /"]},
    )

    assert [problem.partition(":")[0] for problem in found] == [
        "name",
        "version",
        "runtime",
        "capabilities[0]",
        "capabilities[1]",
        "ui.type",
        "ui.entry",
        "ui.hooks.appMenu.label",
        "api.endpoints[0].method",
        "api.endpoints[0].handler",
        "api.endpoints[0].path",
        "api.endpoints[0].path",
        "api.endpoints[1]",
    ]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "not valid JSON"),
        (b'{"name":\n oops}', "line 2"),
        (b"[]", "make it a JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "keep it within"),
        (b'\xff{"name": 1}', "not valid JSON"),
    ],
)
def test_what_is_no_manifest_at_all_is_told_in_one_sentence(raw: bytes, told: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(raw)
    assert len(caught.value.problems) == 1
    assert told in caught.value.problems[0]


@pytest.mark.parametrize("version", ["1.2.3", "1.2.3-rc.1", "1.2.3+build.7", "1.2.*", "10.20.30"])
def test_versions_that_publishing_takes_are_taken(version: str) -> None:
    assert parse(version=version) == ()


@pytest.mark.parametrize("version", ["1.2", "1.2.3.4", "v1.2.3", "1.*.*", "\u0661.2.3"])
def test_other_versions_are_refused(version: str) -> None:
    assert problems(version=version)[0].startswith("version:")


def test_endpoints_are_normalised_as_publishing_does() -> None:
    declared = [
        {"method": "get", "path": "./items//all", "handler": "a"},
        {"method": "Post", "path": "items", "handler": "a"},
        {"method": "DELETE", "path": "", "handler": "a"},
    ]
    manifest = parse_manifest(orjson.dumps({**MANIFEST, "api": {"endpoints": declared}}))
    assert [(one.method, one.path) for one in manifest.endpoints] == [
        ("GET", "/items/all"),
        ("POST", "/items"),
        ("DELETE", "/"),
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"publisher": None}, "publisher: missing"),
        ({"name": "Hello World"}, "name: use a reverse domain name"),
        ({"entry": "dist/main.wasm"}, "entry: not a field of the format"),
        (
            {"capabilities": ["cap:log.emit", "http.fetch"]},
            "capabilities[1]: 'http.fetch' is not granted, for no runner knows it;"
            ' write "cap:http.fetch"',
        ),
        (
            {"capabilities": ["CAP:Metrics"]},
            "capabilities[0]: 'cap:metrics' is not granted, for no runner knows it; remove it",
        ),
        ({"capabilities": ["slack", " Slack "]}, "capabilities[0]: slack is not granted"),
        ({"api": None}, "api.endpoints: none declared"),
        ({"ui": {"type": "iframe", "entry": "dist/ui/index.html"}}, "ui.entry: never consulted"),
        (
            {"api": {"endpoints": [{"method": "GET", "path": "/a", "handler": "h"}] * 2}},
            "api.endpoints[1]: GET /a is declared twice",
        ),
    ],
)
def test_what_runs_here_but_not_as_meant_is_a_warning(
    changed: dict[str, object], told: str
) -> None:
    warnings = parse(**changed)
    assert len(warnings) == 1
    assert warnings[0].startswith(told)


def test_a_capability_named_twice_in_two_spellings_counts_once() -> None:
    manifest = parse_manifest(
        orjson.dumps({**MANIFEST, "capabilities": ["cap:log.emit", " CAP:Log.Emit "]})
    )
    assert manifest.capabilities == ("cap:log.emit",)


def test_what_only_publishing_minds_is_told_apart() -> None:
    document = {**MANIFEST, "name": "hello", "capabilities": ["cap:metrics"]}
    manifest = parse_manifest(orjson.dumps(document))
    assert manifest.warnings[:-1] == manifest.warnings_here
    assert [each.partition(":")[0] for each in manifest.warnings] == ["capabilities[0]", "name"]


def test_a_capability_that_no_runner_knows_stays_declared() -> None:
    manifest = parse_manifest(orjson.dumps({**MANIFEST, "capabilities": ["cap:metrics"]}))
    assert manifest.capabilities == ("cap:metrics",)


def test_a_name_cannot_smuggle_control_characters_into_a_terminal() -> None:
    for warning in (*parse(**{"\x1b[31mred": 1}), *parse(capabilities=["\x1b[31mred"])):
        assert all(character.isprintable() for character in warning)


def test_a_name_cannot_hold_control_characters() -> None:
    assert problems(name="hello\x1b[31m")[0].startswith("name: keep it printable")
