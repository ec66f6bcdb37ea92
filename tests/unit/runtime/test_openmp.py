from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAMS = {
    "worker": ["-c", "import consumers.trainer"],
    "command": ["-m", "ader_stream.cli.main", "evaluate", "--help"],
}


def policy(program: str, **variables: str) -> str:
    """Return what OMP_WAIT_POLICY is to the OpenMP that torch has loaded in a program."""
    environment = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run(
        [sys.executable, *PROGRAMS[program]],
        env={**environment, "OMP_DISPLAY_ENV": "TRUE", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    [said] = (line for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line)
    return said.partition("=")[2].strip(" '")


@pytest.mark.parametrize("program", PROGRAMS)
def test_threads_of_each_program_sleep_while_they_wait(program: str) -> None:
    assert policy(program) == "PASSIVE"


def test_who_has_chosen_how_threads_wait_is_left_alone() -> None:
    assert policy("worker", OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
