from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAMS = {
    "worker": "import consumers.trainer",
    "command": """
import sys
from ader_stream.cli.main import main
sys.argv = ["ader-stream", "--version"]
try:
    main()
finally:
    import torch
""",
}


def spins(program: str, **variables: str) -> int:
    """Return how often a waiting thread of the OpenMP that torch has loaded looks before it sleeps.

    The policy itself is shown as passive where nothing was chosen, and threads spin then.
    """
    environment = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "OMP_DISPLAY_ENV": "VERBOSE", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    [said] = (line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line)
    return int(said.partition("=")[2].strip(" '"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_threads_of_each_program_sleep_while_they_wait(program: str) -> None:
    assert spins(PROGRAMS[program]) == 0


def test_who_has_chosen_how_threads_wait_is_left_alone() -> None:
    assert spins(PROGRAMS["worker"], OMP_WAIT_POLICY="ACTIVE") > spins("import torch") > 0
