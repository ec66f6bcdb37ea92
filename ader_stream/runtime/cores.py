"""Count the cores this process may use: its affinity, and the CPU quota of its control groups.

A container with half the CPU time of a machine still sees all of its cores. As many threads as
cores then use the quota up early in each period, and all of them wait for the rest of it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SELF = Path("/proc/self")


def usable_cores(process: Path = SELF) -> int:
    """Return the number of cores that a process may use, rounded up.

    Parameters
    ----------
    process
        Its folder in ``/proc``; without one, there is no quota.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(_quotas(process), default=cores))))


def _quotas(process: Path) -> Iterator[float]:
    """Yield the quota of each control group that the process is in, in cores."""
    for folder in _groups(process):
        try:
            if (folder / "cpu.max").exists():  # version 2
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if quota != "max" and int(quota) > 0:  # -1 is none in version 1
                yield int(quota) / int(period)
        except (OSError, ValueError):  # the root has no quota; not every group counts CPU time
            continue


def _groups(process: Path) -> Iterator[Path]:
    """Yield the folders of the groups that limit the process's CPU time, and their parents."""
    try:
        memberships = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        return
    paths = dict(_controlled(line) for line in memberships)
    for line in mounts:
        place, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(maxsplit=2)
        is_version_1 = kind == "cgroup" and "cpu" in options.split(",")
        if is_version_1 or kind == "cgroup2":
            root, mount_point = place.split()[3:5]
            yield from _from_mount(Path(mount_point), root, paths.get(kind, "/"))


def _controlled(line: str) -> tuple[str, str]:
    """Return the kind of hierarchy in a line of ``/proc/self/cgroup``, and the path there.

    >>> _controlled("4:cpu,cpuacct:/a/b"), _controlled("0::/a")
    (('cgroup', '/a/b'), ('cgroup2', '/a'))
    """
    _, controllers, path = line.split(":", 2)
    if not controllers:
        return "cgroup2", path
    return "cgroup" if "cpu" in controllers.split(",") else controllers, path


def _from_mount(mount_point: Path, root: str, path: str) -> Iterator[Path]:
    """Yield a group's folder and its parents, as far as they are mounted."""
    group = PurePosixPath(path)
    within = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    yield mount_point / within
    yield from (mount_point / above for above in within.parents)
