"""What joins every step, so that the model keeps what it knows (paper, section 3.2)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ader_stream.ader.dataset import Batch, Samples, endless_batches, pack
from ader_stream.ader.losses import cross_entropy, distillation_loss, item_scores
from ader_stream.ader.model import SASRec


class Replay(Protocol):
    """What joins every batch of new sub-sequences.

    Parameters
    ----------
    batch_size
        Exemplars a step.
    """

    batch_size: int

    def loss(self, student: SASRec, table: Tensor) -> Tensor | float:
        """Return the weighted loss of the step.

        Parameters
        ----------
        student
            The model in training.
        table
            Its item table (I, D) in the precision of the step.
        """


class NoReplay:
    """Nothing joins: the first cycle, and fine-tuning."""

    batch_size = 0

    def loss(self, student: SASRec, table: Tensor) -> float:  # noqa: ARG002
        """Return nothing to learn."""
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
    """

    def __init__(self, exemplars: Samples, steps: int, rng: np.random.Generator) -> None:
        self.batch_size = max(1, len(exemplars) // steps)
        self._exemplars = exemplars
        self._rows = endless_batches(exemplars.lengths, self.batch_size, rng)

    def draw(self) -> Batch:
        """Pack the next batch."""
        return pack(self._exemplars, next(self._rows))


class DistilledReplay:
    """λ_t times the distillation from the previous model, on a batch of exemplars: ADER.

    The teacher's distribution is computed when it is needed; no logits are kept.

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
        self, batches: ExemplarBatches, weight: float, teacher: SASRec, precision: torch.dtype
    ) -> None:
        self.batch_size = batches.batch_size
        self.batches = batches
        self.weight = weight
        self.teacher = teacher
        self.teacher_table = teacher.item_table().detach().to(precision)  # (I', D)

    def loss(self, student: SASRec, table: Tensor) -> Tensor:
        """Draw the next exemplars and return their weighted distillation loss."""
        inputs = self.batches.draw().inputs  # (E, T)
        with torch.no_grad():
            taught = item_scores(self.teacher(inputs), self.teacher_table)  # (E, I')
        # The loss reads no score of an item that the teacher does not know: compute none.
        learnt = item_scores(student(inputs), table[: len(self.teacher_table)])  # (E, I')
        return self.weight * distillation_loss(learnt, taught)


class LabelReplay:
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

    def loss(self, student: SASRec, table: Tensor) -> Tensor:
        """Draw the next exemplars and return their weighted cross-entropy."""
        batch = self.batches.draw()
        scores = item_scores(student(batch.inputs), table)  # (E, I)
        return self.weight * cross_entropy(scores, batch.targets)
