"""Describe the machine of a measurement, without the name of a host or user."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from pathlib import Path

from ader_stream.runtime.cores import usable_cores

_CPUINFO = Path("/proc/cpuinfo")


def describe_machine(threads: int) -> dict[str, str | int]:
    """Describe the machine.

    Parameters
    ----------
    threads
        Number of threads of the work.

    Returns
    -------
    dict
        ``processor`` (its model), ``cores`` (that this process may use), ``threads``,
        ``memory_bytes``.
    """
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def peak_rss_bytes() -> int:
    """Return the most memory that this process has had so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _processor() -> str:
    if _CPUINFO.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(), re.MULTILINE)
        if named:
            return named[1].strip()
    return platform.processor() or platform.machine()
