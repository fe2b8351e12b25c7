"""How many cores there are for this process: fewer where time on them is limited.

Control groups of one's own need privileges, so files stand in for the kernel's.
"""

import os
from pathlib import Path

import pytest

from gateway.variables.cores import usable_cores

V2 = "0::/kubepods/pod7/gateway\n"
V1 = "5:memory:/docker/7\n2:cpuacct,cpu:/docker/7\n1:name=systemd:/init\n0::/\n"


@pytest.fixture(autouse=True)
def sixty_four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))


def cores(folder: Path, own_groups: str, files: dict[str, str]) -> int:
    groups = folder / "cgroup"
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    (folder / "own").write_text(own_groups)
    return usable_cores(folder / "own", groups)


@pytest.mark.parametrize(
    ("own_groups", "files", "expected"),
    [
        (V2, {"kubepods/pod7/gateway/cpu.max": "100000 100000\n"}, 1),
        (V2, {"kubepods/pod7/gateway/cpu.max": "250000 100000\n"}, 3),
        (V2, {"kubepods/pod7/gateway/cpu.max": "5000 100000\n"}, 1),
        (V2, {"kubepods/pod7/gateway/cpu.max": "max 100000\n"}, 64),
        (V2, {"kubepods/pod7/gateway/cpu.max": "9900000 100000\n"}, 64),
        # What is above counts, too.
        (
            V2,
            {
                "kubepods/pod7/gateway/cpu.max": "800000 100000\n",
                "kubepods/pod7/cpu.max": "200000 100000\n",
                "kubepods/cpu.max": "max 100000\n",
            },
            2,
        ),
        # A container with a view of its own, and with the path of the whole machine.
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        (V2, {"cpu.max": "200000 100000\n"}, 2),
        ("0::/../other\n", {"cpu.max": "200000 100000\n"}, 2),
        (
            V1,
            {
                "cpu/docker/7/cpu.cfs_quota_us": "150000\n",
                "cpu/docker/7/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        (
            V1,
            {
                "cpu/docker/7/cpu.cfs_quota_us": "-1\n",
                "cpu/docker/7/cpu.cfs_period_us": "100000\n",
            },
            64,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 1),
        (V2, {"kubepods/pod7/gateway/cpu.max": "\n"}, 64),
        (V2, {}, 64),
    ],
)
def test_a_limit_of_cpu_time_counts(
    tmp_path: Path, own_groups: str, files: dict[str, str], expected: int
) -> None:
    assert cores(tmp_path, own_groups, files) == expected


def test_where_there_are_no_control_groups_all_cores_count(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "nowhere") == 64
