"""Reproduce the paper's table, and recipe `production` beside it, one resumable run after another.

    python -m tests.benchmarks.reproduce --dataset DIR

Runs lie in WORK (by default ``out/reproduce``) while they continue; a finished one is copied to
``tests/benchmarks/results``, and the tables of results are rewritten. Started again after a kill,
the command continues after the last finished cycle. ``--publish`` copies what there is, and runs
nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.results_table import RESULTS, write_table

ALL = 16
"""Update cycles of DIGINETICA."""

SOME = 6
"""Of what costs much (joint) or tells enough early (the ablations)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation."""

    method: str
    cycles: int
    seed: int = 0
    recipe: str = "paper"

    @property
    def file(self) -> str:
        """Name of its result."""
        return f"{self.method}-{self.recipe}-{self.seed}.json"


QUEUE = (
    Run("ader", ALL, recipe="production"),
    Run("ader", ALL),
    Run("finetune", ALL),
    Run("dropout", ALL),
    Run("ewc", ALL),
    Run("joint", SOME),
    Run("er-herding", SOME),
    Run("er-random", SOME),
    Run("er-loss", SOME),
    Run("ader-equal", SOME),
    Run("ader-fix", SOME),
    Run("ader", ALL, seed=1),
    Run("ader", ALL, seed=2),
    Run("finetune", ALL, seed=1),
    Run("ewc", ALL, seed=1),
    Run("ader", ALL, seed=1, recipe="production"),
    Run("ader", ALL, seed=2, recipe="production"),
)
"""The most important first."""


def cycles_done(result: Path) -> int:
    """Finished cycles of a result; 0 where there is none."""
    return len(json.loads(result.read_text("utf-8"))["cycles"]) if result.exists() else 0


def command_of(run: Run, dataset: Path, work: Path) -> list[str]:
    """The command line that starts a run, or continues it."""
    return [
        *(sys.executable, "-m", "ader_stream.cli.main", "evaluate", "--resume"),
        *("--dataset", str(dataset), "--out", str(work / run.file)),
        *("--recipe", run.recipe, "--method", run.method),
        *("--seed", str(run.seed), "--cycles", str(run.cycles)),
    ]


def publish(queue: Sequence[Run], work: Path, results: Path) -> None:
    """Copy the results there are, without states."""
    for run in queue:
        if cycles_done(work / run.file):
            shutil.copyfile(work / run.file, results / run.file)


def work_off(
    queue: Sequence[Run], work: Path, results: Path, start: Callable[[Run], int]
) -> Iterator[Run]:
    """Do every run that is not finished yet, and yield each whose result has been copied.

    `start` does a run and returns its exit code; one that is not 0 ends the process with it.
    """
    for run in queue:
        if cycles_done(results / run.file) >= run.cycles:
            continue
        if code := start(run):
            sys.exit(code)
        publish([run], work, results)
        yield run


def evaluate(run: Run, dataset: Path, work: Path) -> int:
    """Evaluate in a process of its own, so that memory is measured for this run alone."""
    child = subprocess.Popen(command_of(run, dataset, work))
    try:
        return child.wait()
    finally:
        child.terminate()
        child.wait()


def main() -> None:
    """Read the command line and work the queue off."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", type=Path, help="folder of DIGINETICA's period_N.txt[.gz]")
    parser.add_argument("--work", type=Path, default=Path("out/reproduce"))
    parser.add_argument("--publish", action="store_true", help="copy what there is, run nothing")
    asked = parser.parse_args()
    if asked.publish:
        publish(QUEUE, asked.work, RESULTS)
        write_table()
    elif asked.dataset:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # takes the evaluation with it
        asked.work.mkdir(parents=True, exist_ok=True)
        start = partial(evaluate, dataset=asked.dataset, work=asked.work)
        for _ in work_off(QUEUE, asked.work, RESULTS, start):
            write_table()
    else:
        parser.error("name the data set with --dataset, or ask for --publish")


if __name__ == "__main__":
    main()
