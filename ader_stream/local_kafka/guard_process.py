"""The guard's own process: when the pipe from its parent closes, it ends what the parent left.

Each line on standard input is one JSON object::

    {"end": PROCESS_GROUP}     end this process group: SIGTERM, after the grace SIGKILL
    {"cancel": PROCESS_GROUP}  it has ended by itself; its number may be reused soon
    {"run": [ARG, …]}          run this afterwards
    {"release": true}          nothing is left to do

It is started by its path and imports only the standard library, so that it costs its parent about
50 ms and a few MB.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

POLL_S = 0.05


def read_duties(lines: Iterable[str]) -> tuple[list[int], list[list[str]]]:
    """Return the work to do when the input ends: process groups to end, then commands to run."""
    groups: list[int] = []
    commands: list[list[str]] = []
    for line in lines:
        match json.loads(line):
            case {"end": int(group)}:
                groups.append(group)
            case {"cancel": int(group)}:
                groups = [other for other in groups if other != group]
            case {"run": list(command)}:
                commands.append(command)
            case {"release": True}:
                return [], []
    return groups, commands


def end_groups(groups: Iterable[int], grace: float) -> None:
    """Send SIGTERM to process groups, and SIGKILL to those that still run after `grace` seconds."""
    left = [group for group in groups if _send(group, signal.SIGTERM)]
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(POLL_S)
        left = [group for group in left if _send(group, 0) and not _only_zombies(group)]
    for group in left:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Send a signal; return false if no process is left to receive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def state_and_group(pid: str) -> tuple[str, int]:
    """Return a process's state (``Z`` is a zombie) and group from /proc, where it exists."""
    try:
        stat = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0
    state, _parent, group, *_ = stat.rpartition(")")[2].split()
    return state, int(group)


def _only_zombies(group: int) -> bool:
    """Return whether all processes of a group have ended and only wait to be reaped by a parent.

    A busy parent, or the first process of a container, may take long or for ever.
    """
    states = [state_and_group(path.name) for path in Path("/proc").glob("[0-9]*")]
    return {state for state, its_group in states if its_group == group} == {"Z"}


def main() -> None:
    """Wait for the pipe to close, then end the groups and run the commands."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # it must not end before its work
    groups, commands = read_duties(sys.stdin)
    end_groups(groups, grace=float(sys.argv[1]))
    for command in commands:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, check=False, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
