"""Show the progress of an evaluation, and the time left, on standard error."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ader_stream.ader import progress as pace
from ader_stream.ader.evaluate import EvaluatedCycle


class ProgressBar(Progress):
    """Shows the batches of an epoch as a bar, and the time left.

    Parameters
    ----------
    work
        Work of each cycle, in any one unit: the time left is estimated from it and from the speed
        of the cycles that this run has finished.
    finished
        Number of cycles that were done before.
    quiet
        Show nothing, because another process does.
    """

    def __init__(self, work: Sequence[float], finished: int, *, quiet: bool = False) -> None:
        super().__init__(
            TextColumn("{task.description}", table_column=Column()),  # wraps; its own is cut
            BarColumn(bar_width=20),
            console=Console(stderr=True, quiet=quiet),
        )
        self._work = work
        self._before = finished
        self._began = self._cycle_began = time.monotonic()
        self._cycles_done = finished
        self._epoch = self.add_task("")

    def show(self, cycle: int, now: pace.Progress) -> None:
        """Show the progress of a cycle."""
        where = f"cycle {cycle}/{len(self._work)}, {_now(now)}, {self._left()} left"
        self.update(self._epoch, completed=now.step, total=now.steps, description=where)
        if now.ends_epoch and not self.console.is_terminal:
            self.console.print(where, highlight=False, soft_wrap=True)  # a log has no bar

    def finish_cycle(self, result: EvaluatedCycle) -> None:
        """Print the result of a cycle."""
        self._cycles_done = result.cycle
        self._cycle_began = time.monotonic()
        self.console.print(_summary(result), highlight=False, soft_wrap=True)

    def _left(self) -> str:
        seconds = seconds_left(
            self._work,
            self._before,
            self._cycles_done,
            self._cycle_began - self._began,
            time.monotonic() - self._cycle_began,
        )
        return "?" if seconds is None else str(timedelta(seconds=round(seconds)))


def seconds_left(
    work: Sequence[float], before: int, done: int, seconds: float, since: float
) -> float | None:
    """Estimate the time until the last cycle is done; None before one was timed.

    Parameters
    ----------
    work
        Work of each cycle.
    before, done
        Number of cycles finished when this run started, and now.
    seconds
        Duration of this run's finished cycles.
    since
        Seconds since the start of the current cycle.

    >>> seconds_left([10, 5, 5], before=0, done=1, seconds=100.0, since=20.0)
    80.0
    """
    timed = sum(work[before:done])
    if not timed:
        return None
    pace = seconds / timed
    present = max(0.0, pace * sum(work[done : done + 1]) - since)
    return present + pace * sum(work[done + 1 :])


def _now(now: pace.Progress) -> str:
    if not now.epoch:
        return now.stage
    recall = now.validation_recall20
    validated = "" if recall is None else f", validation Recall@20 {recall:.2f}"
    speed = f"{now.samples_per_second:,.0f} samples/s"
    return f"epoch {now.epoch}: loss {now.loss:.3f}{validated}, {speed}"


def _summary(result: EvaluatedCycle) -> str:
    report, percent = result.report, result.counts.percentages()
    return (
        f"cycle {result.cycle}: Recall@20 {percent.get('recall@20', 0):.2f}, "
        f"MRR@20 {percent.get('mrr@20', 0):.2f}; {report.epochs} epochs in "
        f"{report.train_seconds:.0f} s, {report.samples_per_second:,.0f} samples/s"
    )
