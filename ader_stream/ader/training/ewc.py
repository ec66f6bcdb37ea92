r"""Elastic weight consolidation: a penalty on changing weights that mattered to the parent.

Kirkpatrick et al., PNAS 2017; a baseline of the paper. Each step's loss gains

    λ/2 · Σ_i F_i (θ_i − θ*_i)²

with θ* the previous weights and F the diagonal of their empirical Fisher information on
`FISHER_SAMPLES` of the previous exemplars, drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ader_stream.ader.data.dataset import Samples, pack
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import no_progress

FISHER_SAMPLES = 1_000
"""As in the authors' code (``ewc_sample_num``)."""


class Penalty(Protocol):
    """A term of the loss that depends on the student's weights alone."""

    def __call__(self, student: SessionModel) -> Tensor | float:
        """Return the term."""


def no_penalty(student: SessionModel) -> float:  # noqa: ARG001 - a `Penalty`
    """Return 0."""
    return 0.0


class ElasticPenalty:
    """The penalty on weights that differ from the parent's (`Penalty`).

    Parameters
    ----------
    weight
        λ.
    weights
        θ* by name. A tensor may be shorter than the student's: new rows have no penalty.
    importance
        F by the same names and shapes.
    """

    def __init__(
        self, weight: float, weights: Mapping[str, Tensor], importance: Mapping[str, Tensor]
    ) -> None:
        self.weight = weight
        self.weights = weights
        self.importance = importance

    def __call__(self, student: SessionModel) -> Tensor:
        """Return λ/2 · Σ F (θ − θ*)² of all parameters, in their own precision."""
        penalties: list[Tensor] = [
            _Pull.apply(now, self.weights[name], self.importance[name])
            for name, now in student.named_parameters()
        ]
        return self.weight * torch.stack(penalties).sum()


class _Pull(torch.autograd.Function):
    """½ Σ F (θ − θ*)², its gradient made on the way forward: few passes over the item table."""

    @staticmethod
    def forward(ctx: Any, now: Tensor, before: Tensor, importance: Tensor) -> Tensor:
        known = slice(before.numel())  # rows that are new come last
        away = now.flatten()[known] - before.flatten()
        ctx.gradient = torch.zeros_like(now)
        pull = torch.mul(away, importance.flatten(), out=ctx.gradient.view(-1)[known])
        return away.dot(pull) / 2

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient.mul_(upstream[0]), None, None


def fisher_information(
    model: SessionModel, samples: Samples, between: Callable[[], None] = no_progress
) -> dict[str, Tensor]:
    """Estimate the diagonal of the Fisher information, one gradient a sample.

    F_i = mean over samples of (∂ log p(label | input) / ∂θ_i)²

    Parameters
    ----------
    model
        In eval mode; its gradients are left empty.
    samples
        At least one.
    between
        Called after each of them.
    """
    parameters = dict(model.named_parameters())
    fisher = {name: torch.zeros_like(weight) for name, weight in parameters.items()}
    for row in range(len(samples)):
        batch = pack(samples, np.array([row]), model.device)
        scores = model(batch.inputs) @ model.item_table().T  # (1, I)
        loss = functional.cross_entropy(scores, batch.targets - 1)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for total, gradient in zip(fisher.values(), gradients, strict=True):
            total.addcmul_(gradient, gradient)
        between()
    return {name: total.detach().div_(len(samples)) for name, total in fisher.items()}


def draw_fisher_samples(samples: Samples, rng: np.random.Generator) -> Samples:
    """Draw `FISHER_SAMPLES` samples without replacement; all of them where there are fewer."""
    return samples.take(rng.permutation(len(samples))[:FISHER_SAMPLES])
