"""Replay: exemplars that join every training step, against forgetting (paper, section 3.2)."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples, pack_by_length, shuffled_batches
from ader_stream.ader.data.packed_batch import PackedBatch
from ader_stream.ader.device import CPU
from ader_stream.ader.distributed import SINGLE_PROCESS, ProcessGroup
from ader_stream.ader.exemplars.selection import represent_samples
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import no_progress
from ader_stream.ader.training.matrix_buffer import MatrixBuffer
from ader_stream.ader.training.targets import DistillationTarget, Labels, Target


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """A batch of sessions with their target distribution.

    Parameters
    ----------
    inputs
        Sessions.
    target
        Over the next item of each session, in their order.
    """

    inputs: PackedBatch
    target: Target


def labelled(
    samples: Samples, rows: Int64, weight: float = 1.0, device: torch.device = CPU
) -> TrainingBatch:
    """Return the samples at `rows`, the shortest first, with their own labels."""
    pieces = pack_by_length(samples, rows, device)
    labels = torch.cat([piece.targets for piece in pieces])
    return TrainingBatch(PackedBatch([piece.inputs for piece in pieces]), Labels(labels, weight))


class Replay:
    """Exemplars that join every batch of new sub-sequences; this base class has none.

    Attributes
    ----------
    batch_size
        Exemplars a step.
    """

    batch_size = 0

    def draw(self) -> list[TrainingBatch]:
        """Draw the exemplars of the next step, in batches that fit into memory."""
        return []

    def rest(self) -> Int64:
        """Return the rows that are left of this pass over the exemplars, in their order."""
        return np.zeros(0, np.int64)

    def resume(self, rest: Int64) -> None:
        """Continue with the rest of a pass."""


class ExemplarBatches:
    """Exemplars in batches, pass after pass over all of them.

    Parameters
    ----------
    exemplars
        At least one.
    steps
        Batches of new sub-sequences an epoch; int(|E| / steps) exemplars join each, at least one.
    rng
        Source of the order.
    processes
        Processes that batches are shared among.
    at_once
        Exemplars that fit into memory together.
    """

    def __init__(
        self,
        exemplars: Samples,
        steps: int,
        rng: np.random.Generator,
        processes: ProcessGroup = SINGLE_PROCESS,
        at_once: int = sys.maxsize,
    ) -> None:
        self.batch_size = max(1, len(exemplars) // steps)
        self.exemplars = exemplars
        self.processes = processes
        self.at_once = at_once
        self._rng = rng
        self._rest: deque[Int64] = deque()

    def draw(self) -> tuple[Int64, float]:
        """Return this process's rows of the next batch, and their weight in its mean."""
        if not self._rest:
            lengths = self.exemplars.lengths
            self._rest.extend(shuffled_batches(lengths, self.batch_size, self._rng))
        return self.processes.share(self._rest.popleft())

    def pieces(self) -> Iterator[tuple[Int64, float]]:
        """Yield the rows of the next batch, `at_once` at a time, and their weight in its mean."""
        rows, part = self.draw()
        for start in range(0, len(rows), self.at_once):
            piece = rows[start : start + self.at_once]
            yield piece, part * len(piece) / len(rows)

    def rest(self) -> Int64:
        """Return the rows that are left of this pass, in their order."""
        return np.concatenate([np.zeros(0, np.int64), *self._rest])

    def resume(self, rest: Int64) -> None:
        """Continue with the rest of a pass."""
        cuts = range(0, len(rest), self.batch_size)
        self._rest = deque(rest[start : start + self.batch_size] for start in cuts)


class ExemplarReplay(Replay):
    """A batch of exemplars joins every step.

    Parameters
    ----------
    batches
        The previous model's exemplars.
    weight
        λ_t.
    """

    def __init__(self, batches: ExemplarBatches, weight: float) -> None:
        self.batches = batches
        self.batch_size = batches.batch_size
        self.weight = weight

    def draw(self) -> list[TrainingBatch]:
        """Draw the next exemplars (`Replay.draw`)."""
        return [self.batch(rows, self.weight * part) for rows, part in self.batches.pieces()]

    @abstractmethod
    def batch(self, rows: Int64, weight: float) -> TrainingBatch:
        """Return the training batch of these exemplars."""

    def rest(self) -> Int64:
        """Return the rows that are left of this pass (`Replay.rest`)."""
        return self.batches.rest()

    def resume(self, rest: Int64) -> None:
        """Continue with the rest of a pass."""
        self.batches.resume(rest)


class DistilledReplay(ExemplarReplay):
    """λ_t times the distillation from the previous model, on a batch of exemplars: ADER.

    The teacher's representations are stored, and its distribution is computed for each step: no
    logits are stored.

    Parameters
    ----------
    batches
        The previous model's exemplars.
    weight
        λ_t.
    teacher
        The previous model, in eval mode; only its constructor uses it.
    precision
        Of the teacher's item scores.
    between
        Called after every chunk of exemplars that the teacher has represented.
    """

    def __init__(
        self,
        batches: ExemplarBatches,
        weight: float,
        teacher: SessionModel,
        precision: torch.dtype,
        between: Callable[[], None] = no_progress,
    ) -> None:
        super().__init__(batches, weight)
        # Sessions are represented by raw items, and scored with the blended ones of rankings:
        # with blended items in both, the items would become more alike in every cycle.
        represented = represent_samples(teacher, batches.exemplars, between)
        self.represented = torch.from_numpy(represented).to(teacher.device, precision)  # (|E|, D)
        self.table = teacher.ranked_table(precision)  # (I', D)
        self.buffer = MatrixBuffer(precision)

    def batch(self, rows: Int64, weight: float) -> TrainingBatch:
        """Return these exemplars with the teacher's distribution."""
        batch = labelled(self.batches.exemplars, rows, device=self.table.device)
        represented, labels = self.represented[rows], batch.target.labels
        taught = DistillationTarget(represented, self.table, labels, self.buffer, weight)
        return TrainingBatch(batch.inputs, taught)


class LabelReplay(ExemplarReplay):
    """λ_t times the cross-entropy of a batch of exemplars with their own labels: ER.

    Over all items known now, as in the authors' code (``disable_distillation``).
    """

    def batch(self, rows: Int64, weight: float) -> TrainingBatch:
        """Return these exemplars with their labels."""
        return labelled(self.batches.exemplars, rows, weight, self.batches.processes.device)
