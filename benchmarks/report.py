"""The tables that people read and the JSON that programs do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson

from benchmarks.figures import Costs, own, ratio
from benchmarks.goals import BOUNDS, GOALS, measured_amounts, measured_ratio, verdict
from benchmarks.measure import Plan, Results

BEGIN: Final = "<!-- begin: written by python -m benchmarks --write -->"
END: Final = "<!-- end -->"


def as_json(results: Results, plan: Plan, machine: Mapping[str, str]) -> bytes:
    """Everything, with the ratios worked out."""
    ratios = {
        work: {peer: ratio(results.costs, work, peer) for peer in row}
        for work, row in results.costs.items()
    }
    document = {
        "machine": machine,
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds},
        "costs": {
            work: {peer: asdict(cost) for peer, cost in row.items()}
            for work, row in results.costs.items()
        },
        "ratios": ratios,
        "footprint": results.footprint,
        "resident_mib": results.resident_mib,
        "skipped": results.skipped,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def as_markdown(results: Results, plan: Plan, machine: Mapping[str, str]) -> str:
    """The tables: the goals, ratios, what they come from, and the machine."""
    parts = [
        f"Medians of {plan.rounds} rounds of {plan.seconds} s.",
        _facts(machine),
        "### Against the goals",
        goals_table(results.costs, results.footprint),
        "### The gateway's CPU time a request, as a multiple of each peer's",
        ratio_table(results),
        "### Behind the ratios: CPU time a request in µs, and the dearest round over the cheapest",
        cost_table(results),
        "### Resident memory after all of it, MiB",
        _table(
            tuple(results.resident_mib),
            [tuple(f"{amount:.0f}" for amount in results.resident_mib.values())],
        ),
    ]
    if results.skipped:
        lines = (f"* {what}: {why}" for what, why in results.skipped.items())
        parts += ["### Left out", "\n".join(lines)]
    return "\n\n".join(parts)


def goals_table(costs: Costs, footprint: Mapping[str, float]) -> str:
    """What must be, what is, and whether that is enough."""
    rows = []
    for goal in GOALS:
        measured = measured_ratio(goal, costs)
        rows.append(
            (
                f"{goal.work} / {goal.peer}",
                _ratio(goal.must),
                _ratio(goal.aim),
                _ratio(measured),
                verdict(measured, goal.must),
                verdict(measured, goal.aim),
            )
        )
    amounts = measured_amounts(costs, footprint)
    for bound in BOUNDS:
        amount = amounts.get(bound.measure)
        must, aim = f"{bound.must:g} {bound.unit}", f"{bound.aim:g} {bound.unit}"
        shown = "" if amount is None else f"{amount:.3g} {bound.unit}"
        if amount is not None and amount >= 1000:
            shown = f"{amount:.0f} {bound.unit}"
        rows.append(
            (
                bound.measure,
                must,
                aim,
                shown,
                verdict(amount, bound.must, at_least=bound.at_least),
                verdict(amount, bound.aim, at_least=bound.at_least),
            )
        )
    return _table(("goal", "must be", "aim", "measured", "must", "aim for"), rows)


def ratio_table(results: Results) -> str:
    """A row for each work, a column for each peer; below 1 the gateway is the cheaper one."""
    peers = _peers(results.costs)
    rows = [
        (
            work.name,
            work.says,
            *(_ratio(ratio(results.costs, work.name, peer)) for peer in peers),
        )
        for work in results.works
        if any(ratio(results.costs, work.name, peer) is not None for peer in peers)
    ]
    return _table(("", "work", *peers), rows)


def cost_table(results: Results) -> str:
    """What each server needed; the gateway first."""
    peers = _peers(results.costs)
    rows = []
    for work in results.works:
        row = results.costs.get(work.name, {})
        found = (own(row), *(row.get(peer) for peer in peers))
        shown = ("" if one is None else f"{one.cpu_us:.1f} ({one.spread:.2f})" for one in found)
        rows.append((work.name, *shown))
    return _table(("", "gateway", *peers), rows)


def write_between_markers(document: Path, text: str) -> None:
    """Replace what an earlier run wrote.

    Raises:
        ValueError: the document has no such place, or more than one.
        OSError: it cannot be read or written.
    """
    old = document.read_text(encoding="utf-8")
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        raise ValueError(f"{document} must have one {BEGIN} and one {END}")
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2]
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _peers(costs: Costs) -> list[str]:
    names = dict.fromkeys(peer for row in costs.values() for peer in row)
    return [name for name in names if not name.startswith("gateway")]


def _facts(machine: Mapping[str, str]) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in machine.items())


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
