"""What wrk is told, and what it says."""

from pathlib import Path

import pytest

from benchmarks.load import Burst, parse_report, write_script
from benchmarks.workloads import Exchange

REPORT = '{"requests":10,"bytes":2048,"seconds":1.5,"errors":0,"p50_ms":0.5,"p99_ms":2.0}'


def test_the_counts_are_read_from_below_the_report_for_people() -> None:
    said = f"Running 1s test\n  10 requests in 1.50s\n\n{REPORT}\n"
    assert parse_report(said) == Burst(10, 2048, 1.5, 0, 0.5, 2.0)


@pytest.mark.parametrize("said", ["", "unable to connect\n"])
def test_a_report_without_counts_is_refused(said: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the JSON reader says of it
        parse_report(said)


def test_quotes_in_a_request_stay_what_they_are(tmp_path: Path) -> None:
    script = tmp_path / "ask.lua"
    headers = (("If-None-Match", '"sha256-ab"'),)
    write_script(Exchange("/", headers, 200, b"", method="POST", body=b'{"a":"\\n"}'), script)
    lines = script.read_text().splitlines()
    assert 'wrk.body = [==[{"a":"\\n"}]==]' in lines
    # "[[" would begin a string of its own: the spaces matter.
    assert 'wrk.headers[ [==[If-None-Match]==] ] = [==["sha256-ab"]==]' in lines


def test_a_request_that_would_end_its_own_quotes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Lua"):
        write_script(Exchange("/", (("x", "]==] os.exit()"),), 200, b""), tmp_path / "ask.lua")
