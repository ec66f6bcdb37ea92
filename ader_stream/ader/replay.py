"""Adaptively distilled exemplar replay: the past's share in every step (paper, section 3.2)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ader_stream.ader.dataset import Samples, endless_batches, pack
from ader_stream.ader.losses import distillation_loss, item_scores
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
        """Draw the next exemplars and return their weighted loss.

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


class ExemplarReplay:
    """λ_t times the distillation from the previous model, on a batch of exemplars.

    Each step takes int(|E| / steps) exemplars, at least one, pass after pass over all of them.
    The teacher's distribution is computed when it is needed; no logits are kept.

    Parameters
    ----------
    teacher
        The previous model, in eval mode.
    exemplars
        Its exemplars, at least one.
    weight
        λ_t.
    steps
        Batches of new sub-sequences an epoch.
    precision
        Of the teacher's item scores.
    rng
        Source of the order.
    """

    def __init__(
        self,
        teacher: SASRec,
        exemplars: Samples,
        weight: float,
        steps: int,
        precision: torch.dtype,
        rng: np.random.Generator,
    ) -> None:
        self.batch_size = max(1, len(exemplars) // steps)
        self.teacher = teacher
        self.teacher_table = teacher.item_table().detach().to(precision)  # (I', D)
        self.exemplars = exemplars
        self.weight = weight
        self.batches = endless_batches(exemplars.lengths, self.batch_size, rng)

    def loss(self, student: SASRec, table: Tensor) -> Tensor:
        """Draw the next exemplars and return their weighted distillation loss."""
        inputs = pack(self.exemplars, next(self.batches)).inputs  # (E, T)
        with torch.no_grad():
            taught = item_scores(self.teacher(inputs), self.teacher_table)  # (E, I')
        # The loss reads no score of an item that the teacher does not know: compute none.
        learnt = item_scores(student(inputs), table[: len(self.teacher_table)])  # (E, I')
        return self.weight * distillation_loss(learnt, taught)
