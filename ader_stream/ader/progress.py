"""How far a cycle has come, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

STAGES = ("encode", "calibrate", "replay", "train", "validate", "herd")
"""What a cycle does, in order; training and validation take turns."""

ITEMS_BETWEEN = 2**13
"""What Python goes through one by one is no silence: so many take milliseconds."""

T = TypeVar("T")


def nothing() -> None:
    """Do nothing between two pieces of work: nobody waits."""


def told(items: Iterable[T], between: Callable[[], None]) -> Iterator[T]:
    """Pass items on, and call `between` now and then."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % ITEMS_BETWEEN == 0:
            between()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a cycle is; told after every batch, and again in every other stage.

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
        Told once an epoch, after its validation.
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


class Pace:
    """Counts what was trained and tells the caller.

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

    def enter(self, stage: str) -> None:
        """Tell that another stage begins."""
        self.now = replace(self.now, stage=stage)
        self.tell()

    def count(self, samples: int, seconds: float) -> None:
        """Count a batch that was trained."""
        self.samples += samples
        self.seconds += seconds

    def trained(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Tell that a batch is done."""
        recall = self.now.validation_recall20
        self.now = Progress(epoch, step, steps, loss, self.samples_per_second, recall)
        self.tell()

    def validated(self, recall20: float | None) -> None:
        """Tell that an epoch has ended."""
        self.now = replace(self.now, validation_recall20=recall20)
        self.on_progress(replace(self.now, ends_epoch=True))

    def tell(self) -> None:
        """Tell the same again, so that a long stretch without a batch is no silence."""
        self.on_progress(self.now)
