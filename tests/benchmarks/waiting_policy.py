"""Training speed for each way in which idle OpenMP threads wait, alone and beside a busy core.

    python -m tests.benchmarks.waiting_policy [--threads N] [--rounds N] [--out FILE]

Each way is a process of its own, for OpenMP reads its environment once. All of them train in turn,
a few steps at a time, so that what else the machine does hits all alike; numbers are the medians
over the rounds of each one's speed over that of the first, OpenMP's own way, in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

WAYS: dict[str, dict[str, str]] = {
    "OpenMP's own": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{f"spin {count:,}": {"GOMP_SPINCOUNT": str(count)} for count in (300, 1_000, 3_000, 10_000)},
}
"""Name → variables; the first one is what the others are compared with."""

READ_BY_OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

ITEMS = 43_136
"""Of DIGINETICA's catalogue."""

TRAIN, LEAVE = "train", "leave"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--trainee", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.trainee:
        train_when_asked(asked.threads)
        return
    results = {}
    with ExitStack() as stack:
        trainees = {way: stack.enter_context(trainee(asked.threads, WAYS[way])) for way in WAYS}
        results["alone"] = compare(trainees, asked.rounds)
        stack.enter_context(busy_core())
        results["beside a busy core"] = compare(trainees, asked.rounds)
    for neighbour, ratios in results.items():
        for way, ratio in ratios.items():
            print(f"{neighbour:20}{way:14}{ratio:6.2f}")
    if asked.out:
        asked.out.write_text(json.dumps({"threads": asked.threads, **results}, indent=2) + "\n")


def train_when_asked(threads: int) -> None:
    """Answer each line on stdin with the samples a second of a few steps of recipe `production`."""
    import torch  # noqa: PLC0415 - in the trainee alone

    from ader_stream.ader.recipes import PRODUCTION  # noqa: PLC0415
    from tests.benchmarks.training_speed import STEPS, training_step  # noqa: PLC0415

    torch.set_num_threads(threads)
    step = training_step(PRODUCTION, ITEMS)
    step()
    while sys.stdin.readline().strip() == TRAIN:
        began = time.perf_counter()
        step()
        print(STEPS * PRODUCTION.batch_size / (time.perf_counter() - began), flush=True)


@contextmanager
def trainee(threads: int, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a process that trains when asked, its threads waiting as the variables say."""
    inherited = {name: value for name, value in os.environ.items() if name not in READ_BY_OPENMP}
    command = [sys.executable, "-m", __spec__.name, "--trainee", "--threads", str(threads)]
    with subprocess.Popen(
        command,
        env={**inherited, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            speed(process)  # the first round warms up
            yield process
        finally:
            process.kill()


def speed(process: subprocess.Popen[str]) -> float:
    """Let a trainee train, and return its samples a second."""
    assert process.stdin
    assert process.stdout
    print(TRAIN, file=process.stdin, flush=True)
    return float(process.stdout.readline())


def compare(trainees: Mapping[str, subprocess.Popen[str]], rounds: int) -> dict[str, float]:
    """Return the median of each one's speed over the first one's in the same round."""
    ratios: dict[str, list[float]] = {way: [] for way in trainees}
    for _ in range(rounds):
        speeds = {way: speed(process) for way, process in trainees.items()}
        first, *_ = speeds.values()
        for way, own in speeds.items():
            ratios[way].append(own / first)
    return {way: round(median(own), 3) for way, own in ratios.items()}


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
