"""The losses of ADER, their gradient, and the weight between them (paper, sections 3.2 and 3.3).

Every loss is the cross-entropy of a softmax over items with a target distribution (`targets`). Its
gradient by the scores is p − target, so one pass computes loss and gradients together, without
keeping a (B, I) matrix for the backward pass: `FusedLoss`. `PlainLoss` computes the same with
torch's own functions, to compare with and as an alternative. For catalogues that no step can score
whole, `sampled_softmax.SampledLoss` draws some items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ader_stream.ader.device import multiplies_bfloat16
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.matrix_buffer import MatrixBuffer
from ader_stream.ader.training.targets import Target, softmax_

SCORES_AT_ONCE = 2**26
"""Scores held at a time, 256 MiB of float32: fewer sessions at a time in larger catalogues."""

ROWS_AT_ONCE = 2**13
"""Rows of a product that are converted to float32 together, while the caches still hold them."""


PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}
"""Of the output layer's products, by name in a recipe."""


class Loss(Protocol):
    """Σ over targets of weight · mean over sessions of the cross-entropy."""

    def columns(self, targets: Sequence[Target]) -> Tensor | None:
        """Return the K items that this step scores; None for all of them."""

    def __call__(
        self,
        sessions: Sequence[Tensor],
        table: Tensor,
        targets: Sequence[Target],
        columns: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of sessions (B, D), one tensor a target.

        Parameters
        ----------
        sessions
            Session representations (B, D), for each target.
        table
            Output layer (I, D), or (K, D) of some items alone.
        targets
            As many as there are tensors of sessions.
        columns
            What `columns` returned for these targets; None where the table has all items.
        """


def output_precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Return the precision of the output layer's products in training, on a device.

    ``auto`` is bfloat16 where the device multiplies it. A sampled softmax scores so few items that
    float32 costs nothing.
    """
    if recipe.output_precision != "auto":
        return PRECISIONS[recipe.output_precision]
    is_narrow = not recipe.negatives and multiplies_bfloat16(device)
    return torch.bfloat16 if is_narrow else torch.float32


class LossOverAll:
    """A loss that scores every item."""

    def columns(self, targets: Sequence[Target]) -> None:
        """Return no items: all of them are scored (`Loss.columns`)."""


class PlainLoss(LossOverAll):
    """The loss by torch's own functions."""

    def __call__(
        self,
        sessions: Sequence[Tensor],
        table: Tensor,
        targets: Sequence[Target],
        columns: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Compute the loss (`Loss`)."""
        losses = [
            target.weight * functional.cross_entropy(rows @ table[: target.items].T, target.plain())
            for rows, target in zip(sessions, targets, strict=True)
        ]
        return torch.stack(losses).sum()


class FusedLoss(LossOverAll):
    """The loss and its gradients in one pass, in memory that is allocated once.

    Parameters
    ----------
    precision
        Of the products; the softmax's sums are float32 in any case.
    scores_at_once
        Scores held at a time.
    """

    def __init__(self, precision: torch.dtype, scores_at_once: int = SCORES_AT_ONCE) -> None:
        self.buffer = MatrixBuffer(precision)
        self.scores_at_once = scores_at_once

    def __call__(
        self,
        sessions: Sequence[Tensor],
        table: Tensor,
        targets: Sequence[Target],
        columns: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Compute the loss (`Loss`)."""
        loss: Tensor = _Fused.apply(self, tuple(targets), table, *sessions)
        return loss

    def add_gradients(
        self, sessions: Tensor, table: Tensor, target: Target, grads: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Add the gradients of one target's loss by sessions and table; return the loss.

        Parameters
        ----------
        sessions, table
            (B, D) and (I, D), both in the precision of the products.
        target
            The sessions' target.
        grads
            By sessions (B, D) and by table (I, D), float32; added to in place.
        """
        known = table[: target.items]
        share = target.weight / len(sessions)
        rows_at_once = max(1, self.scores_at_once // len(known))
        loss = grads[0].new_zeros(())
        for start in range(0, len(sessions), rows_at_once):
            rows = slice(start, min(start + rows_at_once, len(sessions)))
            scores = self.buffer.product(sessions[rows], known.T)  # (B, I')
            expected = target.expected(scores, rows)  # (B,)
            normaliser = softmax_(scores)  # (B,) and scores are probabilities now
            loss += share * (normaliser - expected).sum()
            target.subtract_from(scores, rows)  # p − target
            grads[0][rows] = share * (scores @ known)
            _add_product(grads[1][: target.items], scores.T, share * sessions[rows])
        return loss


class _Fused(torch.autograd.Function):
    """Computes the gradients in the forward pass, and returns them in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, fused: FusedLoss, targets: tuple[Target, ...], table: Tensor, *sessions: Tensor
    ) -> Tensor:
        by_table = torch.zeros_like(table)
        by_sessions = [torch.empty_like(rows) for rows in sessions]
        narrow = table.to(fused.buffer.dtype)
        losses = [
            fused.add_gradients(rows.to(narrow.dtype), narrow, target, (by_rows, by_table))
            for rows, target, by_rows in zip(sessions, targets, by_sessions, strict=True)
        ]
        ctx.gradients = [by_table, *by_sessions]
        return torch.stack(losses).sum()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, each to one owner, which may add to it in place."""
        gradients, ctx.gradients = ctx.gradients, None
        if upstream[0].item() != 1.0:
            for gradient in gradients:
                gradient.mul_(upstream[0])
        return None, None, *gradients


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `out`, which may be wider than they are."""
    if out.dtype == left.dtype:
        out.addmm_(left, right)
        return
    for first in range(0, len(out), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        out[rows] += left[rows] @ right


MOST_WEIGHT = 2.0
"""Highest λ_t / λ_base: reached where a block has at most a quarter as many sub-sequences as there
are exemplars, which would otherwise leave no weight to the block. 1.3 at most in the paper."""


@dataclass(frozen=True, slots=True)
class CycleSizes:
    """Sizes of a cycle that its adaptive weight depends on.

    Parameters
    ----------
    old_items, items
        |I_{t−1}|, |I_t|: items known before and after the block.
    exemplars
        |E_{t−1}|.
    train_samples
        |D_t|: training sub-sequences, validation taken out.
    """

    old_items: int
    items: int
    exemplars: int
    train_samples: int


def adaptive_weight(base: float, sizes: CycleSizes) -> float:
    """Return the weight of the exemplars (paper, equation 4).

    λ_t = λ_base · √(|I_{t−1}| / |I_t| · |E_{t−1}| / |D_t|), at most `MOST_WEIGHT` · λ_base

    Parameters
    ----------
    base
        λ_base.
    sizes
        Of the cycle.

    Examples
    --------
    >>> sizes = CycleSizes(old_items=100, items=400, exemplars=900, train_samples=100)
    >>> adaptive_weight(0.8, sizes)
    1.2000000000000002
    """
    items = sizes.old_items / sizes.items
    return base * min(MOST_WEIGHT, math.sqrt(items * sizes.exemplars / sizes.train_samples))
