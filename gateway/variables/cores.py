"""How many cores this process may use: those that it may run on, and the time it is given on them.

A container with a limit of one core may still run on all of the machine's, each for a moment.
Python's own counts, `os.process_cpu_count` of 3.13 included, do not know of that.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

_OWN_GROUPS: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")  # where systemd, Docker and Kubernetes have them


def usable_cores(own_groups: Path = _OWN_GROUPS, groups: Path = _GROUPS) -> int:
    """At least one; a quota that is no whole number is rounded up.

    Args:
        own_groups: says which control groups this process belongs to, as cgroups(7) has it.
        groups: the folder in which they are mounted.
    """
    if sys.platform == "linux":
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return math.ceil(min((allowed, *_quotas(own_groups, groups))))


def _quotas(own_groups: Path, groups: Path) -> Iterator[float]:
    """In cores: those of the process's own groups and of all above them, which count as well."""
    with suppress(OSError):
        for line in own_groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2
                folder, files = groups, ["cpu.max"]
            elif "cpu" in controllers.split(","):
                folder, files = groups / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            else:
                continue
            # A container may see its own group as the root, whatever the path says.
            own = PurePosixPath(path)
            for each in (own, *own.parents):
                group = folder / each.relative_to("/")
                with suppress(OSError, ValueError):  # no such group, or "max"
                    text = " ".join((group / file).read_text() for file in files)
                    quota, period = map(int, text.split())
                    if quota > 0:
                        yield quota / period
