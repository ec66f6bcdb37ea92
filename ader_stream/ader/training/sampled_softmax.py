"""A softmax over a sample of the items, for catalogues that no step can score whole.

B sessions, K items drawn, D width, I items.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ader_stream.ader.device import CPU
from ader_stream.ader.training.targets import Candidates, Target

FLATTENED = 0.75
"""Exponent of an item's clicks in the probability of drawing it: popular items are the likely
mistakes, but not the only ones (Mikolov et al., NeurIPS 2013, arXiv 1310.4546)."""


class SampledLoss:
    """Σ over targets of weight · mean cross-entropy over the session's own item and some others.

    One draw is for all sessions of a step, with replacement; an item drawn twice counts once.
    Torch's global generator draws.

    Parameters
    ----------
    negatives
        Items drawn in a step.
    clicks
        In the block, of each item (I,): items are drawn by their power of ¾. An item without a
        click counts as one with one.
    """

    def __init__(self, negatives: int, clicks: Tensor) -> None:
        shares = clicks.to(CPU, torch.float64).clamp(min=1).pow(FLATTENED)
        shares /= shares.sum()
        self.negatives = negatives
        self._below = shares.cumsum(0).to(clicks.device)
        drawn_at_all = -torch.expm1(negatives * torch.log1p(-shares))
        self._log_expected = drawn_at_all.log().to(clicks.device, torch.float32)  # (I,)

    def columns(self, targets: Sequence[Target]) -> Tensor:
        """Return drawn items, and behind them the targets' labels (`losses.Loss.columns`)."""
        return torch.cat([self._draw(), *(target.labels - 1 for target in targets)])

    def __call__(
        self,
        sessions: Sequence[Tensor],
        table: Tensor,
        targets: Sequence[Target],
        columns: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss (`losses.Loss`)."""
        if columns is None:
            columns = self.columns(targets)
            table = table.index_select(0, columns)
        owned = [len(target.labels) for target in targets]
        sizes = [len(columns) - sum(owned), *owned]
        others, *own = torch.split(table, sizes)
        sampled, *labels = torch.split(columns, sizes)
        losses = []
        for represented, target, mine, label in zip(sessions, targets, own, labels, strict=True):
            candidates = self._candidates(label, sampled, target.items)
            scores = candidates.scores(represented, mine, others)
            loss = functional.cross_entropy(scores, target.among(candidates))
            losses.append(target.weight * loss)
        return torch.stack(losses).sum()

    def _draw(self) -> Tensor:
        points = torch.rand(self.negatives, dtype=torch.float64, device=self._below.device)
        columns = torch.searchsorted(self._below, points).clamp(max=len(self._below) - 1)
        return torch.unique(columns)  # type: ignore[no-any-return]

    def _candidates(self, own: Tensor, sampled: Tensor, known: int | None) -> Candidates:
        expected = self._log_expected
        left_out = sampled == own[:, None]  # (B, K)
        if known is not None:
            left_out |= sampled >= known
        return Candidates(
            own,
            sampled,
            torch.cat([expected[own][:, None], expected[sampled].expand(len(own), -1)], 1),
            torch.cat([torch.zeros_like(left_out[:, :1]), left_out], 1),
        )
