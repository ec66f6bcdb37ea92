"""End all started processes with their parent, even when the parent is killed with SIGKILL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ader_stream.local_kafka import guard_process

GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL: enough for a worker; a broker needs less than one."""


class Guard:
    """A small process that ends what its parent started if the parent dies first.

    Parent and guard share a pipe. The kernel closes it when the parent ends, in any way. Leaving
    the ``with`` block without `release` ends all processes too.

    Parameters
    ----------
    grace
        Seconds between SIGTERM and SIGKILL.

    Examples
    --------
    >>> with Guard() as guard:
    ...     guard.on_death(["docker", "rm", "--force", "some-container"])
    ...     guard.release()
    """

    def __init__(self, grace: float = GRACE_S) -> None:
        command = [sys.executable, "-I", "-S", guard_process.__file__, str(grace)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # an inherited one blocks the parent's reader
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C goes to the parent's whole process group
        )

    def on_death(self, command: Sequence[str]) -> None:
        """Run `command` at the parent's death, after all processes have ended."""
        self._tell({"run": list(command)})

    def end_on_death(self, group: int) -> None:
        """End this process group at the parent's death."""
        self._tell({"end": group})

    def cancel(self, group: int) -> None:
        """Cancel `end_on_death` for a process group that has ended by itself."""
        self._tell({"cancel": group})

    def release(self) -> None:
        """Stop the guard and leave all running processes alive."""
        with suppress(BrokenPipeError):  # a second release
            self._tell({"release": True})

    def _tell(self, duty: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(duty) + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def start_process(
    command: Sequence[str], log: Path, guard: Guard, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, which ends with this process.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File to which its standard output and error are appended.
    guard
        Ends it when this process dies. Call `Guard.cancel` after waiting for the program.
    environment
        Variables of the program; by default those of this process.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    guard.end_on_death(process.pid)
    return process


def stop_processes(
    processes: Collection[subprocess.Popen[bytes]], guard: Guard, seconds: float
) -> None:
    """Ask programs to stop, wait, and kill those that have not after so many seconds each."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        guard.cancel(process.pid)
