"""The share of the distillation loss in the loss of a finished version."""

from __future__ import annotations

import numpy as np
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.ensemble_loss import EnsembleLoss
from ader_stream.ader.training.losses import FusedLoss, Loss
from ader_stream.ader.training.replay import (
    DistilledReplay,
    ExemplarBatches,
    TrainingBatch,
    labelled,
)
from ader_stream.versions.learning.samples import spread

LOSS_SAMPLES = 1_000
"""Sub-sequences, and exemplars, that the losses are means of."""


def distillation_share(
    state: State,
    parent: State,
    samples: Samples,
    weight: float,
    recipe: Recipe,
    device: torch.device,
) -> float | None:
    """Return λ_t · L_KD / (L_CE + λ_t · L_KD) of a version, in percent; None without exemplars.

    Both losses are those of training (paper, equation 3), over all items, of the finished version:
    nothing is dropped out, so that no random number is drawn.

    Parameters
    ----------
    state, parent
        The version, and what it was taught by, without the items that left.
    samples
        Sub-sequences of the block.
    weight
        λ_t.
    recipe
        Of the version.
    """
    exemplars = _some(parent.exemplars.samples(), recipe.maxlen)
    samples = _some(samples, recipe.maxlen)
    if not weight or not len(exemplars) or not len(samples):
        return None
    model, teacher = state.model(device=device), parent.model(device=device)
    batches = ExemplarBatches(exemplars, 1, np.random.default_rng(0))
    replay = DistilledReplay(batches, weight, teacher, torch.float32)
    distilled = replay.batch(_by_length(exemplars), weight)
    new = labelled(samples, _by_length(samples), device=device)
    loss = _loss_of(recipe)
    kd, ce = (_mean_loss(model, loss, batch) for batch in (distilled, new))
    return 100 * kd / (ce + kd)


def _loss_of(recipe: Recipe) -> Loss:
    loss = FusedLoss(torch.float32)
    return loss if recipe.members == 1 else EnsembleLoss(recipe.members, loss)


@torch.no_grad()
def _mean_loss(model: SessionModel, loss: Loss, batch: TrainingBatch) -> float:
    layer, [embedded] = model.look_up([batch.inputs], None)
    return loss([model.represent(embedded, batch.inputs)], layer, [batch.target]).item()


def _some(samples: Samples, maxlen: int) -> Samples:
    return samples.take(spread(np.arange(len(samples)), LOSS_SAMPLES)).within(maxlen)


def _by_length(samples: Samples) -> Int64:
    return np.argsort(samples.lengths, kind="stable")
