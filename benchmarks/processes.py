"""What processes have used, read from /proc (Linux, proc(5)).

A server is a tree of processes: nginx has a master and a worker, the gateway may have
workers, and what all of them use is what the server costs.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/PID/stat, as far as it matters here."""

    pid: int
    parent: int
    cpu_ticks: int  # user and system time, and that of children it has waited for


def parse_stat(line: str) -> Stat:
    """Read one line; the second field is a name that may hold spaces and parentheses.

    Raises:
        ValueError: not such a line.

    >>> parse_stat("7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 30 12 4 1 20 0 1 0 99 0 0")
    Stat(pid=7, parent=1, cpu_ticks=47)
    """
    pid, _, rest = line.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    if len(fields) < 15:
        raise ValueError(f"not a line of /proc/PID/stat: {line!r}")
    return Stat(int(pid), int(fields[1]), sum(map(int, fields[11:15])))


def tree_of(root: int, stats: Iterable[Stat]) -> frozenset[int]:
    """`root` and everything below it."""
    children: dict[int, list[int]] = {}
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat.pid)
    found, pending = {root}, [root]
    while pending:
        below = children.get(pending.pop(), [])
        pending.extend(pid for pid in below if pid not in found)
        found.update(below)
    return frozenset(found)


def parse_kib(status: str, field: str) -> int:
    """A memory field of /proc/PID/status, in KiB; 0 where a process has none.

    >>> parse_kib("Name:\\tx\\nVmRSS:\\t    1234 kB\\n", "VmRSS")
    1234
    """
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    return 0


def cpu_s(root: int) -> float:
    """User and system time of the tree so far, in seconds; resolution: a clock tick."""
    stats = _stats()
    return sum(stats[pid].cpu_ticks for pid in _living_tree(root, stats)) / _TICKS_PER_S


def resident_kib(root: int) -> int:
    """Resident memory of the tree, in KiB. Shared pages count once a process."""
    total = 0
    for pid in _living_tree(root, _stats()):
        try:
            total += parse_kib((_PROC / str(pid) / "status").read_text(), "VmRSS")
        except OSError:  # it ended meanwhile
            continue
    return total


def _living_tree(root: int, stats: Mapping[int, Stat]) -> frozenset[int]:
    return tree_of(root, stats.values()) & stats.keys()


def _stats() -> dict[int, Stat]:
    stats = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                stat = parse_stat((folder / "stat").read_text())
            except OSError:  # it ended meanwhile
                continue
            stats[stat.pid] = stat
    return stats
