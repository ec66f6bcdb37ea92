"""The losses of ADER, their gradient, and the weight between them (paper, sections 3.2 and 3.3).

Every loss here is a softmax over items against a distribution: the label's, or the teacher's.
Its gradient by the scores is p − target, so one pass makes loss and gradients together, and
no (B, I) matrix waits for a backward pass: `FusedLoss`. `PlainLoss` says the same in torch's
own words; it is there to be compared with, and to turn the other off. Over so many items that no
step can score them all, `sampled.SampledLoss` draws some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ader_stream.ader.device import multiplies_bfloat16
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.candidates import Candidates
from ader_stream.ader.training.scratch import Scratch

SCORES_AT_ONCE = 2**26
"""Scores held at a time, 256 MiB of float32: larger catalogues go by fewer sessions."""

ROWS_AT_ONCE = 2**13
"""Rows of a narrow product that are widened together: they are still in the processor's caches."""


PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class Target(Protocol):
    """What a run of sessions should say of the next item."""

    @property
    def weight(self) -> float:
        """Of the mean loss over these sessions."""

    @property
    def items(self) -> int | None:
        """I': the softmax is over the first I' items of the table; None for all."""

    def expected(self, scores: Tensor, rows: slice) -> Tensor:
        """Return the target's mean of the scores (B, I') of the sessions at `rows`: (B,)."""

    def subtract_from(self, probabilities: Tensor, rows: slice) -> None:
        """Take the target's distribution off (B, I') probabilities, in place."""

    def plain(self) -> Tensor:
        """Return the target as `torch.nn.functional.cross_entropy` takes it."""

    @property
    def labels(self) -> Tensor:
        """The sessions' own next items (B,), 1 … I."""

    def among(self, candidates: Candidates) -> Tensor:
        """Return the same as `plain`, over a session's own next item and those drawn."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The item that was clicked.

    Parameters
    ----------
    labels
        Target items (B,), 1 … I.
    weight
        See `Target`.
    """

    labels: Tensor
    weight: float = 1.0
    items: None = None

    def expected(self, scores: Tensor, rows: slice) -> Tensor:
        """Return the labels' scores."""
        return scores.gather(1, self.labels[rows, None] - 1)[:, 0]

    def subtract_from(self, probabilities: Tensor, rows: slice) -> None:
        """Take 1 off the labels' probabilities."""
        # Not `scatter_add_`: where the precision is narrow, that copies all probabilities.
        every = torch.arange(len(probabilities), device=probabilities.device)
        probabilities[every, self.labels[rows] - 1] -= 1

    def plain(self) -> Tensor:
        """Return the labels' columns."""
        return self.labels - 1

    def among(self, candidates: Candidates) -> Tensor:
        """Return the first of the candidates, for it is the label."""
        return candidates.own.new_zeros(len(candidates.own))


@dataclass(frozen=True, eq=False)
class DistillationTarget:
    """The teacher's distribution: distillation (paper, equation 2).

    Parameters
    ----------
    sessions
        Session representations (B, D), by the teacher.
    table
        The teacher's output layer (I', D); what it does not know stays out.
    labels
        See `Target`.
    scratch
        Where probabilities are kept until it is used again.
    weight
        See `Target`.
    """

    sessions: Tensor
    table: Tensor
    labels: Tensor
    scratch: Scratch
    weight: float = 1.0

    @property
    def items(self) -> int:
        """Items that the teacher knows."""
        return len(self.table)

    @cached_property
    def probabilities(self) -> Tensor:
        """What the teacher says of all items that it knows (B, I')."""
        scores = self.scratch.product(self.sessions, self.table.T)
        softmax_(scores)
        return scores

    def expected(self, scores: Tensor, rows: slice) -> Tensor:
        """Return the teacher's mean of the scores."""
        mean: Tensor = torch.linalg.vecdot(self.probabilities[rows].to(scores.dtype), scores)
        return mean

    def subtract_from(self, probabilities: Tensor, rows: slice) -> None:
        """Take the teacher's probabilities off."""
        probabilities.sub_(self.probabilities[rows])

    def plain(self) -> Tensor:
        """Return the probabilities."""
        return self.probabilities

    def among(self, candidates: Candidates) -> Tensor:
        """Return what the teacher says of the candidates."""
        drawn = candidates.drawn.clamp(max=len(self.table) - 1)  # others are left out anyway
        own, others = self.table[candidates.own], self.table[drawn]
        scores = candidates.scores(self.sessions, own, others)
        return scores.float().softmax(1)


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
        """Compare the scores of sessions (B, D), one tensor a target, with the targets.

        Parameters
        ----------
        sessions
            Session representations (B, D), for each target.
        table
            Output layer (I, D), or (K, D) of some items alone.
        targets
            As many as there are tensors of sessions.
        columns
            What `columns` has returned for these targets; None where the table is whole.
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
    """The loss in torch's own words."""

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
    """The loss with its gradients made in the same pass, in memory that is allocated once.

    Parameters
    ----------
    precision
        Of the products; the softmax's sums are float32 in any case.
    scores_at_once
        Scores held at a time.
    """

    def __init__(self, precision: torch.dtype, scores_at_once: int = SCORES_AT_ONCE) -> None:
        self.scratch = Scratch(precision)
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
            What the sessions should say.
        grads
            By sessions (B, D) and by table (I, D), float32; added to in place.
        """
        known = table[: target.items]
        share = target.weight / len(sessions)
        rows_at_once = max(1, self.scores_at_once // len(known))
        loss = grads[0].new_zeros(())
        for start in range(0, len(sessions), rows_at_once):
            rows = slice(start, min(start + rows_at_once, len(sessions)))
            scores = self.scratch.product(sessions[rows], known.T)  # (B, I')
            expected = target.expected(scores, rows)  # (B,)
            normaliser = softmax_(scores)  # (B,) and scores are probabilities now
            loss += share * (normaliser - expected).sum()
            target.subtract_from(scores, rows)  # p − target
            grads[0][rows] = share * (scores @ known)
            _add_product(grads[1][: target.items], scores.T, share * sessions[rows])
        return loss


class _Fused(torch.autograd.Function):
    """Makes the gradients on the way forward and hands them out on the way back."""

    @staticmethod
    def forward(
        ctx: Any, fused: FusedLoss, targets: tuple[Target, ...], table: Tensor, *sessions: Tensor
    ) -> Tensor:
        by_table = torch.zeros_like(table)
        by_sessions = [torch.empty_like(rows) for rows in sessions]
        narrow = table.to(fused.scratch.dtype)
        losses = [
            fused.add_gradients(rows.to(narrow.dtype), narrow, target, (by_rows, by_table))
            for rows, target, by_rows in zip(sessions, targets, by_sessions, strict=True)
        ]
        ctx.gradients = [by_table, *by_sessions]
        return torch.stack(losses).sum()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Hand the gradients out, each to one owner, who may go on adding to it in place."""
        gradients, ctx.gradients = ctx.gradients, None
        if upstream[0].item() != 1.0:
            for gradient in gradients:
                gradient.mul_(upstream[0])
        return None, None, *gradients


def softmax_(scores: Tensor) -> Tensor:
    """Make probabilities of scores (B, I) in place; return log Σ exp of each row (B,).

    >>> scores = torch.tensor([[0.0, 0.0, 0.0]])
    >>> softmax_(scores).exp(), scores
    (tensor([3.]), tensor([[0.3333, 0.3333, 0.3333]]))
    """
    top = scores.amax(1)  # (B,)
    torch.softmax(scores, 1, out=scores)
    wide = torch.promote_types(scores.dtype, torch.float32)
    return top.to(wide) - scores.amax(1).to(wide).log()  # the largest probability is ≥ 1 / I


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `out`, which may be wider than they are."""
    if out.dtype == left.dtype:
        out.addmm_(left, right)
        return
    for first in range(0, len(out), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        out[rows] += left[rows] @ right


MOST_WEIGHT = 2.0
"""Highest λ_t / λ_base, where a block has no more than a quarter as many sub-sequences as there are
exemplars: of a few sessions, nothing would be learnt. On the paper's data it is 1.3 at most."""


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
