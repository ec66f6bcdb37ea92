"""Run the programs that a local Kafka needs: docker, java, mvn."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from ader_stream.errors import BrokerError


def require_program(name: str) -> None:
    """Raise `BrokerError` unless a program is on the PATH."""
    if shutil.which(name) is None:
        raise BrokerError(f"no `{name}` on the PATH")


def run(command: Sequence[str], timeout: float | None = None) -> str:
    """Run a command and return its output, standard error after standard output.

    Raises
    ------
    BrokerError
        If it fails or takes longer than `timeout` seconds; the message has the command's first
        words and its last line of output.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(f"`{_short(command)}` takes longer than {timeout:g} s") from None
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise BrokerError(f"`{_short(command)}` failed: {last_line(said)}")
    return said


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _short(command: Sequence[str]) -> str:
    return " ".join(command[:2])
