"""Nothing that was started outlives its parent, even when the parent is killed with SIGKILL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ader_stream.local_kafka import guard_process

GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL: a worker leaves within this, a broker in under one."""


class Guard:
    """A small process that ends what its parent started, should the parent die first.

    Parent and guard share a pipe; the kernel closes it however the parent ends. Leaving the
    ``with`` block without `release` ends everything too.

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
            stdout=subprocess.DEVNULL,  # an inherited one would hold up who reads the parent's
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C goes to the parent's whole process group
        )

    def on_death(self, command: Sequence[str]) -> None:
        """Have `command` run, after all processes have ended."""
        self._tell({"run": list(command)})

    def end_on_death(self, group: int) -> None:
        """Have this process group ended."""
        self._tell({"end": group})

    def forget(self, group: int) -> None:
        """Take back `end_on_death` for a process group that has ended by itself."""
        self._tell({"forget": group})

    def release(self) -> None:
        """Let everything live that still does, and the guard go."""
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
    """Start a program in a process group of its own that does not outlive this process.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File to which its standard output and error are appended.
    guard
        Ends it when this process dies. Tell it `Guard.forget` once the program has been waited for.
    environment
        Variables of the program; this process's own without it.
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
