from __future__ import annotations

import subprocess
import sys

BEGIN = """
import os, subprocess
from ader_stream.runtime.memory.allocator import give_back_freed, give_back_large_blocks

MB = 10**6
live = []

def resident():
    return 1024 * int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())]))
"""

SWAPS = """
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


def megabytes_left(script: str) -> int:
    return int(subprocess.check_output([sys.executable, "-c", BEGIN + script], text=True))


def test_tensors_that_are_freed_go_back_to_the_system() -> None:
    assert megabytes_left(SWAPS) < 5  # without the call: 60


CYCLE = """
before = resident()
freed = []
for _ in range(600):
    freed.append(b"x" * 100_000)
    live.append(b"x" * 10_000)  # lies behind it, and lives on
freed.clear()
give_back_freed()
print((resident() - before) // MB)
"""


def test_what_lies_between_blocks_that_live_on_goes_back_too() -> None:
    assert megabytes_left(CYCLE) < 15  # without the call: 66
