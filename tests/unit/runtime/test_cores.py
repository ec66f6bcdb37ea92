from __future__ import annotations

import os
from pathlib import Path

import pytest

from ader_stream.runtime.cores import usable_cores


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a process that may run on eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "self").mkdir()
    return tmp_path / "self"


def mount(process: Path, root: str, filesystem: str, groups: str) -> Path:
    """Let the process be in groups of a hierarchy, and return where it is mounted."""
    mounted = process.parent / "cgroup"
    (process / "mountinfo").write_text(
        f"30 23 0:28 / /proc rw - proc proc rw\n"
        f"32 31 0:29 {root} {mounted} rw,relatime shared:9 - {filesystem}\n"
    )
    (process / "cgroup").write_text(groups)
    mounted.mkdir()
    return mounted


def limit(group: Path, quota: str, period: int = 100_000, *, version: int = 2) -> None:
    group.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (group / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (group / "cpu.cfs_period_us").write_text(f"{period}\n")


@pytest.mark.parametrize(
    ("quota", "cores"), [("max", 8), ("150000", 2), ("200000", 2), ("30000", 1), ("2000000", 8)]
)
def test_the_quota_of_a_container_bounds_the_cores(process: Path, quota: str, cores: int) -> None:
    limit(mount(process, "/", "cgroup2 cgroup rw", "0::/\n"), quota)
    assert usable_cores(process) == cores


def test_the_lowest_quota_of_all_groups_above_counts(process: Path) -> None:
    mounted = mount(process, "/", "cgroup2 cgroup rw", "0::/pod/container\n")
    limit(mounted / "pod", "300000")
    limit(mounted / "pod/container", "400000")
    assert usable_cores(process) == 3


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("250000", 3)])
@pytest.mark.parametrize("root", ["/", "/docker/abc"])
def test_a_quota_of_version_1_counts(process: Path, root: str, quota: str, cores: int) -> None:
    groups = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"
    mounted = mount(process, root, "cgroup cgroup rw,cpu,cpuacct", groups)
    limit(mounted / ("docker/abc" if root == "/" else "."), quota, version=1)
    assert usable_cores(process) == cores


def test_a_group_that_is_not_mounted_here_counts_as_the_one_that_is(process: Path) -> None:
    limit(mount(process, "/", "cgroup2 cgroup rw", "0::/../elsewhere\n"), "100000")
    assert usable_cores(process) == 1


def test_without_groups_or_with_files_that_say_nothing_affinity_alone_counts(process: Path) -> None:
    assert usable_cores(process) == 8
    limit(mount(process, "/", "cgroup2 cgroup rw", "0::/\n"), "what", 0)
    assert usable_cores(process) == 8
    assert usable_cores(process / "gone") == 8
