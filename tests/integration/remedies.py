"""What an error tells its reader to run, taken at its word."""

from __future__ import annotations

import re
import shlex

from tests.integration.system import System, Worker


def commands_in(text: str) -> list[list[str]]:
    """Return the arguments of each ``ader-stream`` command that a text names.

    >>> commands_in("gone: `ader-stream offsets skip --yes` continues, or `kafka-configs`")
    [['offsets', 'skip', '--yes']]
    """
    return [shlex.split(found) for found in re.findall(r"`ader-stream ([^`]+)`", text)]


def complaint_of(worker: Worker) -> str:
    """Wait until a worker has ended with an error, and return its one line."""
    assert worker.wait() == 1, worker.tail()
    lines = worker.log.read_text(errors="replace").splitlines()
    [line] = [line for line in lines if line.startswith("ader-stream: ")]
    return line


def follow(system: System, text: str) -> str:
    """Run the first command that a text names, to the letter; return what it says."""
    done = system.command(*commands_in(text)[0])
    assert done.returncode == 0, done.stderr
    return done.stdout
