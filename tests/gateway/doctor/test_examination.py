"""The examination as a whole: bounded, tolerant, and without a trace."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.doctor import examination
from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, Level, ok
from tests.gateway.doctor.rig import the_one, visit


async def test_one_check_that_hangs_and_one_that_breaks_hide_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hangs(_: Case) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    async def breaks(_: Case) -> Sequence[Finding]:
        raise KeyError("a secret")

    async def works(_: Case) -> Sequence[Finding]:
        return [ok("works", "well")]

    checks = {"hangs": hangs, "breaks": breaks, "works": works}
    monkeypatch.setattr(examination, "CHECKS", checks)
    monkeypatch.setattr(examination, "CHECK_S", 0.05)
    findings = await visit()
    assert [finding.check for finding in findings] == list(checks)
    assert [finding.level for finding in findings] == [Level.FAILED, Level.FAILED, Level.OK]
    assert "secret" not in repr(findings)


def test_a_thread_that_never_ends_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for_ever = threading.Event()

    async def stuck(_: Case) -> Sequence[Finding]:
        await asyncio.to_thread(for_ever.wait)
        return []

    monkeypatch.setattr(examination, "CHECKS", {"stuck": stuck})
    monkeypatch.setattr(examination, "CHECK_S", 0.05)
    try:
        (found,) = asyncio.run(examination.examine({}))  # returns: the loop waited for no thread
    finally:
        for_ever.set()
    assert "no result within" in found.what


def test_nothing_is_changed_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(visit())
    assert list(tmp_path.rglob("*")) == []


async def test_a_gateway_of_a_fresh_clone_is_well() -> None:
    findings = await visit()
    assert Level.FAILED not in {finding.level for finding in findings}
    assert the_one(findings, "settings", "usable").level is Level.OK


def test_the_deadlines_add_up_to_less_than_ten_seconds() -> None:
    assert examination.LOAD_S + examination.CHECK_S < 10
