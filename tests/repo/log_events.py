"""Which events the program logs, and at which levels, as its source says."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from tests.repo.files import modules, shown

Events = dict[str, set[str]]
"""Levels by event."""

_LEVEL_OF: Final = {name: name for name in ("debug", "info", "warning", "error", "critical")} | {
    "exception": "error"
}

_EVERY: Final = {"debug", "info", "warning", "error", "critical"}
PASSED_ON: Final[Mapping[str, tuple[int, Mapping[str, set[str]]]]] = {
    # Where a logger's method is chosen, or handed to another function, before it is called: how
    # many such places there are, and what they write. A new one has to be entered here.
    "backends/embedded/host/guest_log.py": (6, {
        "guest_logged": {"info", "warning", "error"},
        "guest_printed": {"info", "warning"},
        "host_function_failed": {"error"},
    }),
    "gateway/generations/swap.py": (2, {"generation_drained": {"info", "warning"}}),
    "gateway/logs/lines.py": (1, {"library_logged": _EVERY, "log_line_lost": {"error"}}),
    "gateway/reload.py": (2, {
        "backend_swapped": {"info", "warning"},
        "reload_unchanged": {"info", "warning"},
        "reload_refused": {"warning"},
        "backend_swapped_planned": {"info"},
        "reload_unchanged_planned": {"info"},
        "reload_refused_planned": {"info"},
    }),
    "middleware/access_log.py": (1, {
        "request_answered": {"debug", "info", "warning"},
        "request_abandoned": {"debug", "info"},
    }),
}  # fmt: skip
BUILDS_NAMES: Final = "gateway/reload.py"
"""Of a receipt's outcome; tests/gateway/test_reload_log.py has them."""


@cache
def logged() -> Events:
    """Every event of the three packages."""
    events: Events = {}
    for path in modules():
        for event, levels in _of(shown(path), path.read_text(encoding="utf-8")):
            events.setdefault(event, set()).update(levels)
    return events


def _of(module: str, source: str) -> Iterator[tuple[str, set[str]]]:
    tree = ast.parse(source)
    loggers = set(_loggers(tree))
    assert source.count("get_logger(") == len(loggers), f"{module}: a nameless logger"
    written: set[ast.expr] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name) as logger, attr=method),
                args=[ast.Constant(value=str(event)), *_],
            ) if name in loggers:
                written.add(logger)
                yield event, {_LEVEL_OF[method]}
    others = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in loggers and node not in written
    ]
    passed_on = sum(isinstance(node.ctx, ast.Load) for node in others)
    known, events = PASSED_ON.get(module, (0, {}))
    assert passed_on == known, f"{module}: say in PASSED_ON what it logs"
    if module != BUILDS_NAMES:
        assert [event for event in events if f'"{event}"' not in source] == [], module
    yield from events.items()


def _loggers(tree: ast.Module) -> Iterator[str]:
    """Names of variables that hold one."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=made))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=made))
            ) if ast.unparse(made) == "structlog.get_logger":
                yield name
