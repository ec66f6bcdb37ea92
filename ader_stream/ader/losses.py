"""The two losses of ADER and the weight between them (paper, sections 3.2 and 3.3).

Training multiplies sessions by the item table in bfloat16: the softmax is computed in
float32 inside, and the noise averages out over steps. Ranking never does this.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def item_scores(representations: Tensor, item_table: Tensor) -> Tensor:
    """Score sessions (B, D) against items (I, D) in the table's precision: (B, I)."""
    return representations.to(item_table.dtype) @ item_table.T


def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of scores (B, I) against target items (B,), 1 … I."""
    rows, columns = torch.arange(len(targets)), targets - 1  # (B,), (B,)
    gradient = scores.detach().softmax(1)  # (B, I) p
    own = gradient[rows, columns]  # (B,)
    gradient[rows, columns] = own - 1  # p − 1[target]
    return _mean_loss(scores, -_wide(own).log(), gradient)


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Return the mean cross-entropy between the teacher's distribution and the student's.

    Parameters
    ----------
    student_logits
        (B, I'), I' ≥ I: what the teacher does not know stays out.
    teacher_logits
        (B, I) over the items known to the teacher; no gradient reaches them.
    """
    known = student_logits[:, : teacher_logits.shape[1]]  # (B, I)
    logits, taught = known.detach(), teacher_logits.detach().softmax(1)  # (B, I), q
    losses = _wide(logits.logsumexp(1)) - (_wide(taught) * logits).sum(1)
    gradient = logits.softmax(1).sub_(taught)  # p − q
    return _mean_loss(known, losses, gradient)


class _KnownGradient(torch.autograd.Function):
    """The mean of losses whose gradient is at hand: one pass over (B, I), no second softmax."""

    @staticmethod
    def forward(ctx: Any, _scores: Tensor, losses: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient.mul_(upstream[0].item() / len(ctx.gradient)), None, None


def _wide(tensor: Tensor) -> Tensor:
    """Widen bfloat16 to float32; leave float32 and float64 as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _mean_loss(scores: Tensor, losses: Tensor, gradient: Tensor) -> Tensor:
    loss: Tensor = _KnownGradient.apply(scores, losses, gradient)
    return loss


def adaptive_weight(
    base: float, old_items: int, items: int, exemplars: int, train_samples: int
) -> float:
    """Weigh the exemplars (paper, equation 4).

    λ_t = λ_base · √(|I_{t−1}| / |I_t| · |E_{t−1}| / |D_t|)

    Parameters
    ----------
    base
        λ_base.
    old_items, items
        |I_{t−1}|, |I_t|: items known before and after this block.
    exemplars
        |E_{t−1}|.
    train_samples
        |D_t|: training sub-sequences, validation taken out.

    Examples
    --------
    >>> adaptive_weight(0.8, old_items=100, items=400, exemplars=900, train_samples=100)
    1.2000000000000002
    """
    return base * math.sqrt(old_items / items * exemplars / train_samples)
