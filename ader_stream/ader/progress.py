"""Progress of an update cycle, and its speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

STAGES = ("encode", "calibrate", "replay", "train", "validate", "herd")
"""Stages of a cycle, in order; training and validation alternate."""

ITEMS_BETWEEN = 2**13
"""Items of a Python loop between two reports: so many take milliseconds."""

T = TypeVar("T")


def no_progress() -> None:
    """Report nothing between two pieces of work."""


def with_progress(items: Iterable[T], between: Callable[[], None]) -> Iterator[T]:
    """Yield the items, and call `between` after every `ITEMS_BETWEEN` of them."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % ITEMS_BETWEEN == 0:
            between()


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a cycle; reported after every batch, and repeatedly in the other stages.

    Parameters
    ----------
    epoch
        From 1.
    step, steps
        Batches of this epoch done, and in all.
    loss
        Of the last batch.
    samples_per_second
        New sub-sequences and exemplars, over the seconds spent training them in this cycle.
    validation_recall20
        Of the last epoch that ended, in percent; None before, or where nothing is held out.
    ends_epoch
        True once an epoch, after its validation.
    stage
        One of `STAGES`.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    samples_per_second: float
    validation_recall20: float | None = None
    ends_epoch: bool = False
    stage: str = "train"


class ProgressReporter:
    """Counts trained samples, and reports progress to the caller.

    Parameters
    ----------
    on_progress
        Called with every `Progress`; what it raises ends the cycle.
    """

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self.on_progress = on_progress
        self.samples = 0
        self.seconds = 0.0
        self.now = Progress(
            epoch=0, step=0, steps=0, loss=math.nan, samples_per_second=0.0, stage=STAGES[0]
        )

    @property
    def samples_per_second(self) -> float:
        """Sub-sequences a second of training; 0 before the first batch."""
        return self.samples / self.seconds if self.seconds else 0.0

    def enter_stage(self, stage: str) -> None:
        """Report that another stage begins."""
        self.now = replace(self.now, stage=stage)
        self.report()

    def count(self, samples: int, seconds: float) -> None:
        """Add a trained batch to the counts."""
        self.samples += samples
        self.seconds += seconds

    def report_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Report that a batch is trained."""
        recall = self.now.validation_recall20
        self.now = Progress(epoch, step, steps, loss, self.samples_per_second, recall)
        self.report()

    def report_epoch(self, recall20: float | None) -> None:
        """Report that an epoch has ended."""
        self.now = replace(self.now, validation_recall20=recall20)
        self.on_progress(replace(self.now, ends_epoch=True))

    def report(self) -> None:
        """Report the last progress again, for work without batches."""
        self.on_progress(self.now)


def ignore_progress(_: Progress) -> None:
    """Report progress to nobody."""
