from __future__ import annotations

import subprocess
import sys

SWAPS = """
import os, subprocess
from ader_stream.memory import give_back_large_blocks

MB = 10**6
live = []

def resident():
    return 1024 * int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())]))

def swap(tensors):
    loaded = [b"x" * (20 * MB) for _ in range(tensors)]
    live.append(b"x" * 100_000)  # lies behind them, and lives on

give_back_large_blocks()
for _ in range(10):
    swap(1)
before = resident()
swap(4)
print((resident() - before) // MB)
"""


def test_tensors_that_are_freed_go_back_to_the_system() -> None:
    left_in_mb = int(subprocess.check_output([sys.executable, "-c", SWAPS], text=True))
    assert left_in_mb < 5  # without the call: 60
