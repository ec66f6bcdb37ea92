"""What each further click of a block costs the trainer in memory that it cannot give up.

    python -m tests.benchmarks.block_memory [--sessions 60000 120000] [--out FILE]

Anonymous memory (Linux), highest while a block is written down, trained for an epoch, and herded;
told for two blocks, and as the slope between them, which leaves out what every block takes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import PRODUCTION
from ader_stream.runtime.machine import describe_machine
from ader_stream.stream.blocks.columns import ColumnWriter
from ader_stream.types import Session

ITEMS = 300
"""So few that training is quick; what the items take is not asked."""

BATCH = 1_000
RECIPE = replace(PRODUCTION, max_epochs=1, batch_size=4_096, exemplars=5_000)
PHASES = ("block", "training", "herding")


class Watch(threading.Thread):
    """Looks at the anonymous memory of this process, a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._stopping.wait(0.01):
            self.peak = max(self.peak, anonymous_bytes())

    def take_peak(self) -> int:
        """Return the highest since the last time."""
        peak, self.peak = max(self.peak, anonymous_bytes()), 0
        return peak

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def main() -> None:
    """Print what was measured, and write it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, nargs=2, default=(60_000, 120_000))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")  # what one has freed, the next would use again
    with ProcessPoolExecutor(1, fresh, max_tasks_per_child=1) as processes:
        small, large = processes.map(measure, given.sessions)
    further = large["clicks"] - small["clicks"]
    measured = {
        "machine": describe_machine(1),
        "width": RECIPE.hidden,
        "blocks": [small, large],
        "bytes_a_further_click": {p: round((large[p] - small[p]) / further, 1) for p in PHASES},
    }
    print(json.dumps(measured, indent=1))
    if given.out:
        given.out.write_text(json.dumps(measured, indent=1) + "\n")


def measure(sessions: int) -> dict[str, int]:
    """Return the bytes that each phase takes at its peak, beside what was there before."""
    torch.set_num_threads(1)
    train_cycle([("a", "b", "c")] * 50, None, RECIPE, 0, lambda _: None)  # what torch takes
    before, watch = anonymous_bytes(), Watch()
    writer = ColumnWriter()
    for batch in batches(sessions):
        writer.extend(batch)
    items = writer.columns().sorted().items
    peaks = [watch.take_peak()]

    def on_progress(progress: Progress) -> None:
        if progress.ends_epoch:
            peaks.append(watch.take_peak())

    train_cycle(items, None, RECIPE, 0, on_progress)
    peaks.append(watch.take_peak())
    watch.stop()
    taken = {phase: peak - before for phase, peak in zip(PHASES, peaks, strict=True)}
    return {"sessions": sessions, "clicks": items.clicks} | taken


def batches(sessions: int) -> Iterator[Sequence[Session]]:
    """Yield random sessions of two to eight clicks."""
    rng = np.random.default_rng(0)
    for first in range(0, sessions, BATCH):
        yield [session(rng, f"visitor-{first + number}") for number in range(BATCH)]


def session(rng: np.random.Generator, key: str) -> Session:
    clicks, start = int(rng.integers(2, 9)), int(rng.integers(10**9))
    items = tuple(f"item-{item}" for item in rng.integers(ITEMS, size=clicks))
    return Session(key, items, tuple(range(start, start + clicks)))


def anonymous_bytes() -> int:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
