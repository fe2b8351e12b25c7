"""docs/operating.md and deploy/prometheus name what the program exposes and logs, all of it."""

import ast
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from backends.contract import BackendKind
from backends.errors import Phase
from gateway.app import create_app
from gateway.generations.receipts import Outcome
from gateway.problems import PROBLEMS
from gateway.runner_app import ROUTES as RUNNER_ROUTES
from gateway.settings import load
from middleware.labels import METHODS, UNMATCHED
from middleware.metrics import ABANDONED, BROKEN_OFF, NO_BACKEND, outcome_of
from tests.fakes.runner import FakeRunner, echo
from tests.gateway.harness import in_front_of, running
from tests.journeys.workers import no_keep_alive, two_workers
from tests.repo.files import ROOT, modules
from tests.repo.log_events import logged
from tests.rigs.knative.pods import fake_pod
from tests.rigs.knative.rig import HOST, KnativeRig

PAGE: Final = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
RULES_FILE: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
CODE: Final = re.compile(r"`([^`]+)`")
OF_PROMETHEUS: Final = {"job", "instance", "le"}
"""Labels that no family of the gateway has of itself, or that its kind brings along."""

Families = dict[str, tuple[str, frozenset[str]]]
"""Type and labels by the name that is scraped."""


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of every table row of a section, its subsections included."""
    level = heading.split(" ", 1)[0]
    text = PAGE.split(f"\n{heading}\n", 1)[1]
    text = re.split(rf"\n#{{2,{len(level)}}} ", text, maxsplit=1)[0]
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def in_the_table() -> Families:
    return {
        name: (kind, frozenset(CODE.findall(labels)))
        for cells in rows("## Metrics")
        if (found := re.fullmatch(r"`(gateway_\w+)`", cells[0]))
        for name, kind, labels in [(found[1], cells[1], cells[2])]
    }


KINDS: Final = {
    "CounterMetricFamily": ("counter", "_total"),
    "GaugeMetricFamily": ("gauge", ""),
    "HistogramMetricFamily": ("histogram", ""),
}


def in_the_source() -> Families:
    families: Families = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in KINDS:
                continue
            kind, suffix = KINDS[ast.unparse(node.func)]
            name = ast.literal_eval(node.args[0])
            labels = [
                ast.literal_eval(each.value) for each in node.keywords if each.arg == "labels"
            ]
            families[f"{name}{suffix}"] = (kind, frozenset(*labels))
    return families


def test_every_metric_of_the_source_is_in_the_table_with_its_type_and_labels() -> None:
    assert in_the_table() == in_the_source()


@cache
def values_in_the_table() -> dict[tuple[str, str], set[str]]:
    """The values that a label may have, by family ("all") and label."""
    families = {"all", *(f"`{name}`" for name in in_the_table())}
    return {
        (family.strip("`"), label.strip("`")): set(CODE.findall(values))
        for label, family, values in (cells for cells in rows("## Metrics") if len(cells) == 3)
        if family in families
    }


@cache
def routes_in_the_list() -> set[str]:
    (listed,) = re.findall(r"```text\n(/api/ext.*?)```", PAGE, re.DOTALL)
    return set(listed.split())


def test_every_label_has_the_values_of_the_table_and_no_others() -> None:
    settings = load({})
    app = create_app(settings, load=lambda: settings)
    routes = {each.canonical for each in app.router.resources()}
    runner = create_app(settings, load=lambda: settings, routes=RUNNER_ROUTES)
    assert routes_in_the_list() == routes | {each.canonical for each in runner.router.resources()}
    assert values_in_the_table() == {
        ("all", "backend"): {*BackendKind, NO_BACKEND},
        ("gateway_requests_total", "method"): {*METHODS, "OTHER"},
        ("gateway_requests_total", "status"): {"100", "599", "none"},
        ("gateway_requests_total", "outcome"): {
            *map(outcome_of, range(100, 600)), ABANDONED, BROKEN_OFF,
        },
        ("gateway_swaps_total", "outcome"): set(get_args(Outcome)),
        ("gateway_upstream_connections", "state"): {"in_use", "idle"},
        ("gateway_workers", "state"): {"serving", "missing", "leaving"},
        ("all", "route"): {UNMATCHED},
    }  # fmt: skip


def may_be(family: str, label: str, value: str) -> bool:
    """Whether the page says that this label of this family may have this value."""
    known = values_in_the_table()
    values = known.get((family, label)) or known["all", label]
    if label == "status":
        return value == "none" or (value.isdecimal() and 100 <= int(value) <= 599)
    return value in values or (label == "route" and value in routes_in_the_list())


@asynccontextmanager
async def docker(_: Path, __: Path) -> AsyncIterator[str]:
    async with FakeRunner() as runner, running(in_front_of(runner)) as gateway:
        yield gateway.url


@asynccontextmanager
async def knative(_: Path, __: Path) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        runner = await stack.enter_async_context(FakeRunner())
        runner.guest = echo
        rig = KnativeRig(fake_pod(runner), asleep=True, envoy=False)
        await stack.enter_async_context(rig)
        environ = {
            "RUNNER_BASE_URL": rig.ingress_url,
            "RUNNER_KNATIVE_HOST": HOST,
            "RUNNER_KNATIVE_COLD_START_MS": "10000",
        }
        yield (await stack.enter_async_context(running(environ))).url


@asynccontextmanager
async def embedded(_: Path, bundle_dir: Path) -> AsyncIterator[str]:
    async with running({"RUNNER_BUNDLE_DIR": str(bundle_dir)}) as gateway:
        yield gateway.url


@asynccontextmanager
async def workers(folder: Path, bundle_dir: Path) -> AsyncIterator[str]:
    async with FakeRunner() as runner, two_workers(folder, bundle_dir, runner) as gateway:
        yield gateway.url


def shape(family: Metric) -> tuple[str, frozenset[str]]:
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return family.type, frozenset(labels)


@pytest.mark.parametrize("gateway", [docker, knative, embedded, workers])
async def test_what_is_scraped_is_what_the_table_says(
    gateway: Any, tmp_path: Path, bundle_dir: Path
) -> None:
    text = ""
    async with gateway(tmp_path, bundle_dir) as url, no_keep_alive() as client:
        for path in ("/api/ext/acme.crm/hello", "/nothing", "/gateway/v1/backend", "/metrics"):
            async with client.get(url + path) as answer:
                text = await answer.text()
    known, found = in_the_table(), set[str]()
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found.add(name)
        # One that nothing was counted in yet is there without its labels.
        assert shape(family) in (known[name], (known[name][0], frozenset())), name
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert label == "le" or may_be(name, label, value), sample
        assert family.samples or name == "gateway_cold_start_seconds", name
    of_several = {"gateway_workers", "gateway_worker_restarts_total"}
    assert found == set(known) - (set() if gateway is workers else of_several)


def selectors(expression: str) -> Iterator[tuple[str, str]]:
    """Names of series in a rule's expression, and what stands in the braces behind them."""
    return iter(re.findall(r"\b(up|gateway_\w+)\b(?:\{([^}]*)\})?", expression))


def family_of(series: str) -> str:
    """What the table calls it: a histogram's series have its name and more."""
    return re.sub(r"_(bucket|count|sum)$", "", series)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_series_and_label_of_a_rule_exists(rule: Mapping[str, Any]) -> None:
    known = in_the_table()
    asked = list(selectors(rule["expr"]))
    assert asked
    labels: set[str] = set()
    for series, braces in asked:
        matchers = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', braces)
        assert ("job", "=", "extension-gateway") in matchers
        if series == "up":
            continue
        family = family_of(series)
        kind, own = known[family]
        assert (kind == "histogram") == (family != series)
        labels |= own
        for label, operator, value in matchers:
            if label in OF_PROMETHEUS:
                continue
            assert label in own, f"{series} has no {label}"
            for each in value.split("|") if "~" in operator else [value]:
                assert may_be(family, label, each), f'{label}="{each}"'
    named = {
        each for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for each in group.split(", ")
    }
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert named | shown <= labels | OF_PROMETHEUS


def anchors() -> set[str]:
    headings = re.findall(r"(?m)^#+ (.*)$", PAGE)
    return {each.lower().replace(" ", "-").replace(",", "") for each in headings}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_says_what_to_check_and_is_on_the_page(rule: Mapping[str, Any]) -> None:
    check = rule["annotations"]["check"]
    for word in CODE.findall(check):
        if re.fullmatch(r"[a-z]+(_[a-z]+)+", word):
            assert word in logged(), word
    assert set(re.findall(r"docs/operating\.md#([\w-]+)", check)) <= anchors()
    cells = {row[0]: row[1] for row in rows("### Prometheus")}
    assert cells[f"`{rule['alert']}`"] == rule["labels"]["severity"]


def test_every_alert_on_the_page_is_a_rule_and_is_tried() -> None:
    listed = {found for row in rows("### Prometheus") for found in CODE.findall(row[0])}
    assert listed == {rule["alert"] for rule in RULES}
    tried = (RULES_FILE.parent / "rules_test.yaml").read_text(encoding="utf-8")
    assert [alert for alert in listed if alert not in tried] == []


def test_every_event_of_the_log_is_in_a_table_with_its_levels() -> None:
    listed = [cells for cells in rows("## The log") if len(cells) == 4 and cells[0] != "event"]
    assert {
        CODE.findall(event)[0]: set(levels.split(", ")) for event, levels, *_ in listed
    } == logged()
    assert len(listed) == len(logged()), "one row for each"
    assert [event for event, _, meaning, _ in listed if not meaning] == []


def test_every_reason_on_the_page_is_a_word_of_the_program() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in modules())
    built = {f"{phase}_timeout" for phase in Phase}
    built |= {f"runner_said_{status}" for status in (429, 503)}
    # What Docker says of a container's state, or its health check, is put behind "container_".
    words = {word for cells in rows("### Reasons") for word in CODE.findall(cells[0])}
    assert "connection_refused" in words
    assert [word for word in words - built if f'"{word}"' not in text] == []


def test_what_the_page_calls_a_problem_is_one() -> None:
    for code in re.findall(r"50\d `(\w+)`", PAGE):
        assert code in PROBLEMS
