"""Resident memory (MiB) and CPU time of a process (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

SELF = "self"


def resident_mib(process: int | str = SELF) -> float:
    """Resident memory now."""
    return _status(process, "VmRSS")


def peak_mib(process: int | str = SELF) -> float:
    """Highest resident memory since the process began, or since `reset_peak`."""
    return _status(process, "VmHWM")


def reset_peak(process: int | str = SELF) -> None:
    """Let the peak begin again."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def cpu_seconds(process: int | str = SELF) -> float:
    """CPU time of all of its threads so far."""
    _, _, after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    user, system = after_name.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _status(process: int | str, name: str) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024
