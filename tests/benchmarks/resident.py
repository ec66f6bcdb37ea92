"""Resident memory of a process (Linux), MiB."""

from __future__ import annotations

from pathlib import Path

SELF = "self"


def resident_mib(process: int | str = SELF) -> float:
    """Resident memory now."""
    return _status(process, "VmRSS")


def peak_mib(process: int | str = SELF) -> float:
    """Highest resident memory since the process began, or since `reset_peak`."""
    return _status(process, "VmHWM")


def reset_peak(process: int | str = SELF) -> None:
    """Let the peak begin anew."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def _status(process: int | str, name: str) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024
