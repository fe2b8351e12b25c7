"""What is published: the tables, and where they go."""

from pathlib import Path

import orjson
import pytest

from benchmarks.figures import Sample, figures
from benchmarks.measure import Plan, Results
from benchmarks.report import BEGIN, END, as_json, as_markdown, write_between_markers
from benchmarks.workloads import Work

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.fixture
def results() -> Results:
    small = [Sample(cpu_us=50.0, requests_per_s=1.0, p50_ms=1.0, p99_ms=1.0)]
    large = [Sample(cpu_us=20.0, requests_per_s=1.0, p50_ms=1.0, p99_ms=1.0)]
    return Results(
        works=[Work("W1h", "a small file", {}), Work("W8", "a large file", {})],
        costs={"W1h": {"gateway": figures(small), "nginx": figures(large)}},
        skipped={"caddy": "caddy is missing"},
    )


def test_the_report_has_the_ratio_the_verdict_and_what_was_left_out(results: Results) -> None:
    lines = as_markdown(results, Plan(), {"python": "3.11"}).splitlines()
    assert "| W1h | a small file | 2.50 |" in lines
    assert "| W1h / caddy | 0.65 |  |  | not measured |  |" in lines
    assert "| W1h | 50.0 (1.00) | 20.0 (1.00) |" in lines
    assert "* caddy: caddy is missing" in lines
    assert not any("a large file" in line for line in lines)  # nothing is known of it


def test_programs_read_the_same_ratio(results: Results) -> None:
    told = orjson.loads(as_json(results, Plan(rounds=1), {}))
    assert told["ratios"] == {"W1h": {"gateway": 1.0, "nginx": 2.5}}
    assert told["plan"] == {"rounds": 1, "seconds": 2}


def test_a_new_run_replaces_the_tables_of_the_last_one_and_no_more(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write_between_markers(document, "new")
    write_between_markers(document, "newer")
    assert document.read_text() == f"before\n\n{BEGIN}\n\nnewer\n\n{END}\n\nafter\n"


def test_a_document_without_a_place_for_tables_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("by hand\n")
    with pytest.raises(ValueError, match="must have one"):
        write_between_markers(document, "new")
    assert document.read_text() == "by hand\n"


def test_the_published_document_has_a_place_for_tables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert text.index(BEGIN) < text.index(END)
