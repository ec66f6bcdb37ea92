"""What joins every step, so that the model keeps what it knows (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ader_stream.ader.dataset import Int64, Samples, endless_batches, pack_by_length
from ader_stream.ader.exemplars import represent_samples
from ader_stream.ader.losses import Labels, Target, Taught, softmax_
from ader_stream.ader.model import SessionModel
from ader_stream.ader.pieces import Pieces
from ader_stream.ader.scratch import Scratch
from ader_stream.ader.workers import ALONE, Workers


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a step reads, and what it should say of it.

    Parameters
    ----------
    inputs
        Sessions.
    target
        Of the sessions, in their order.
    """

    inputs: Pieces
    target: Target


def labelled(samples: Samples, rows: Int64, weight: float = 1.0) -> Lesson:
    """Return the samples at `rows`, the shortest first, with their own labels."""
    pieces = pack_by_length(samples, rows)
    labels = torch.cat([piece.targets for piece in pieces])
    return Lesson(Pieces([piece.inputs for piece in pieces]), Labels(labels, weight))


class Replay:
    """What joins every batch of new sub-sequences; this one: nothing.

    Attributes
    ----------
    batch_size
        Exemplars a step.
    """

    batch_size = 0

    def draw(self) -> list[Lesson]:
        """Draw what the step should learn of the past."""
        return []

    def penalty(self, student: SessionModel) -> Tensor | float:  # noqa: ARG002
        """Return what the student's weights themselves add to the loss."""
        return 0.0


class ExemplarBatches:
    """Exemplars in batches, pass after pass over all of them.

    Parameters
    ----------
    exemplars
        At least one.
    steps
        Batches of new sub-sequences an epoch; each takes int(|E| / steps) exemplars with it, at
        least one.
    rng
        Source of the order.
    workers
        Among whom batches are shared.
    """

    def __init__(
        self,
        exemplars: Samples,
        steps: int,
        rng: np.random.Generator,
        workers: Workers = ALONE,
    ) -> None:
        self.batch_size = max(1, len(exemplars) // steps)
        self.exemplars = exemplars
        self._workers = workers
        self._rows = endless_batches(exemplars.lengths, self.batch_size, rng)

    def draw(self) -> tuple[Int64, float]:
        """Return this worker's rows of the next batch, and their weight in its mean."""
        return self._workers.share(next(self._rows))


class DistilledReplay(Replay):
    """λ_t times the distillation from the previous model, on a batch of exemplars: ADER.

    The teacher's representations are kept, its distribution is computed when it is needed: no
    logits are stored.

    Parameters
    ----------
    batches
        The previous model's exemplars.
    weight
        λ_t.
    teacher
        The previous model, in eval mode.
    precision
        Of the teacher's item scores.
    """

    def __init__(
        self, batches: ExemplarBatches, weight: float, teacher: SessionModel, precision: torch.dtype
    ) -> None:
        self.batch_size = batches.batch_size
        self.batches = batches
        self.weight = weight
        represented = represent_samples(teacher, batches.exemplars)
        self.represented = torch.from_numpy(represented).to(precision)  # (|E|, D)
        self.table = teacher.item_table().detach().to(precision)  # (I', D)
        self.scratch = Scratch(precision)

    def draw(self) -> list[Lesson]:
        """Draw the next exemplars and what the teacher says of them."""
        rows, part = self.batches.draw()
        taught = self.scratch.product(self.represented[rows], self.table.T)  # (E, I')
        softmax_(taught)
        pieces = Pieces([piece.inputs for piece in pack_by_length(self.batches.exemplars, rows)])
        return [Lesson(pieces, Taught(taught, self.weight * part))]


class LabelReplay(Replay):
    """λ_t times the cross-entropy of a batch of exemplars with their own labels: ER.

    Over all items known now, as in the authors' code (``disable_distillation``).

    Parameters
    ----------
    batches
        The previous model's exemplars.
    weight
        λ_t.
    """

    def __init__(self, batches: ExemplarBatches, weight: float) -> None:
        self.batch_size = batches.batch_size
        self.batches = batches
        self.weight = weight

    def draw(self) -> list[Lesson]:
        """Draw the next exemplars and their labels."""
        rows, part = self.batches.draw()
        return [labelled(self.batches.exemplars, rows, self.weight * part)]
