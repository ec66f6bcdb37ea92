"""A session that stays in the space of its items: the model of recipe `production`.

After CORE (Hou, Hu, Zhang, Zhao: Simple and Effective Session-based Recommendation within
Consistent Representation Space, SIGIR 2022, arXiv 2204.11067): a session is a weighted sum of its
own items, and scores are cosines over a temperature. There the weights come from a transformer,
which overfits blocks of a week; here they are learnt from no more than each click's age and its
likeness to the last one. A cosine of sums is as large from b to a as from a to b: one linear map,
the same for all sessions, lets the model tell which way people go. When it ranks, an item answers
for those that people clicked next to it as well: their counts remember what the table has lost, and
lend rare items the places of their company (as label propagation does, and graph convolutions that
learn nothing: SGC, Wu et al., ICML 2019, arXiv 1902.07153).

B sessions, N positions, D width, I items.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ader_stream.ader.companions import COMPANIONS, Companions, company
from ader_stream.ader.dataset import Batch, Samples
from ader_stream.ader.layers import Dropout, random_mask
from ader_stream.ader.model import NOTHING, Architecture, Dropped, SessionModel
from ader_stream.ader.pieces import Pieces
from ader_stream.ader.ranking import ranks_of
from ader_stream.ader.returns import (
    FIRST_GAINS,
    add_gains,
    best_gains,
    first_gains,
    hits,
    observe_returns,
    reciprocal_ranks,
)
from ader_stream.ader.vocabulary import PADDING

RECENCY = 0.7
"""Weight of a click against the next one's, where training starts."""

AGE_RATE, LIKENESS_RATE = 3.0, 5.0
"""How much faster than an item's coordinate the weights of age and likeness learn."""

TURN_RATE = 0.1
"""How much slower than an item's coordinate the map's learn: all sessions move each of them."""

PULLS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Weights of the logarithm of an item's clicks in the last block that are tried."""

FIRST_PULL = 0.1
"""Where nothing was ever ranked: about the best on DIGINETICA's first cycles."""

BLENDS = (0.0, 0.4, 0.8)
"""Weights of an item's companions in its direction that are tried; at first there are none."""

BLENDED_ROWS = 2**16
"""Items whose directions are blended at a time."""


class Core(SessionModel):
    """A session is the direction of the weighted sum of its items' directions, turned onward.

    Parameters
    ----------
    architecture, n_items, dropped
        See `SessionModel`.
    """

    later_additions = ("companions", "together", "blend")

    def __init__(
        self, architecture: Architecture, n_items: int, dropped: Dropped = NOTHING
    ) -> None:
        super().__init__(architecture, n_items, dropped)
        self.dropout = Dropout(dropped.activations)
        self.age = nn.Parameter(torch.zeros(architecture.maxlen))
        self.likeness = nn.Parameter(torch.zeros(()))
        self.turn = nn.Parameter(torch.zeros(architecture.hidden, architecture.hidden))
        self.gains: Tensor
        self.register_buffer("gains", FIRST_GAINS.clone())
        self.pull: Tensor
        self.register_buffer("pull", torch.tensor(FIRST_PULL))
        self.clicks: Tensor
        self.register_buffer("clicks", torch.zeros(n_items))
        self.companions: Tensor
        self.register_buffer("companions", torch.zeros(n_items, COMPANIONS, dtype=torch.int32))
        self.together: Tensor
        self.register_buffer("together", torch.zeros(n_items, COMPANIONS))
        self.blend: Tensor
        self.register_buffer("blend", torch.zeros(()))

    def represent(self, embedded: Tensor, pieces: Pieces) -> Tensor:
        """Represent sessions, 1 / temperature long (`SessionModel.represent`)."""
        units = functional.normalize(embedded, dim=-1)  # (N, D)
        kept = self.dropout(units)
        by_age = AGE_RATE * self.age.index_select(0, pieces.ages)  # (N,)
        sizes = [piece.numel() for piece in pieces.inputs]
        cut = (torch.split(whole, sizes) for whole in (units, kept, by_age))
        summed = torch.cat([self._sum(*piece) for piece in zip(pieces.inputs, *cut, strict=True)])
        seen = functional.normalize(summed, dim=-1)  # (B, D)
        onward = seen + TURN_RATE * (seen @ self.turn)
        return functional.normalize(onward, dim=-1) / self.architecture.temperature

    def _sum(self, inputs: Tensor, units: Tensor, kept: Tensor, by_age: Tensor) -> Tensor:
        b, t = inputs.shape
        units = units.view(b, t, -1)
        likeness = (units * units[:, -1:]).sum(-1)  # (b, t)
        logits = by_age.view(b, t) + LIKENESS_RATE * self.likeness * likeness
        lowest = torch.finfo(logits.dtype).min
        weights = logits.masked_fill(inputs == PADDING, lowest).softmax(-1)  # (b, t)
        summed: Tensor = (weights[:, None] @ kept.view(b, t, -1))[:, 0]  # (b, D)
        return summed

    def output_layer(self, table: Tensor) -> Tensor:
        """Score with the directions of the items, some of their coordinates dropped."""
        dropped = self.dropped.items if self.training else 0.0
        directions: Tensor = _Directions.apply(table, dropped)
        return directions

    @torch.no_grad()
    def ranked_table(self) -> Tensor:
        """Blend each item's direction with its companions' (`SessionModel.ranked_table`)."""
        table = self.items.weight
        scales, layer = _scales(table), torch.empty_like(table)  # (I, 1), (I, D)
        companions = (self.companions.long() - 1).clamp(min=0)  # (I, K): padding has no share
        shares = self.blend * company(self.companions, self.together) * scales[companions, 0]
        for first in range(0, len(table), BLENDED_ROWS):
            rows = slice(first, first + BLENDED_ROWS)
            blended = table[rows] * scales[rows]
            for companion, share in zip(companions[rows].T, shares[rows].T, strict=True):
                blended = blended.addcmul(table[companion], share[:, None])
            layer[rows] = blended * _scales(blended)
        return layer

    def scores(self, inputs: Tensor, layer: Tensor) -> Tensor:
        """Score sessions (`SessionModel.scores`).

        Items gain by how often the last block's sessions clicked them, and a session's own items
        by how readily people return.
        """
        scores: Tensor = super().scores(inputs, layer)
        return add_gains(scores.add_(self.pull * self._popularity()), inputs, self.gains)

    def meet(self, block: Samples) -> None:
        """Keep each item's clicks in the block, and its companions (`SessionModel.meet`)."""
        clicks = np.bincount(block.items, minlength=self.n_items + 1)[1:]
        self.clicks = torch.from_numpy(clicks).float()
        known = Companions(self.companions.numpy(), self.together.numpy())
        found = known.after(block, self.n_items)
        self.companions, self.together = map(torch.from_numpy, (found.items, found.counts))

    @torch.no_grad()
    def calibrate(self, unseen: Iterable[Batch]) -> None:
        """Find blend, pull and gains that rank these clicks best (`SessionModel.calibrate`)."""
        batches = list(unseen)
        if not batches:
            return

        def listed(blend: float) -> float:
            self.blend.fill_(blend)
            ranks = self._ranks(batches, self.ranked_table(), self.pull.item())
            return hits(ranks) + reciprocal_ranks(ranks)

        self.blend.fill_(max(BLENDS, key=listed))
        layer = self.ranked_table()
        pull = max(PULLS, key=lambda pull: reciprocal_ranks(self._ranks(batches, layer, pull)))
        self.pull.fill_(pull)
        scored = zip(batches, self._without_gains(batches, layer, pull), strict=True)
        observed = [observe_returns(scores, b.inputs, b.targets) for b, scores in scored]
        self.gains.copy_(best_gains(observed, self.gains))

    def _ranks(self, batches: Sequence[Batch], layer: Tensor, pull: float) -> Tensor:
        """Zero-based ranks of all the batches' targets (S,)."""
        scored = zip(batches, self._without_gains(batches, layer, pull), strict=True)
        ranks = [ranks_of(add_gains(s, b.inputs, self.gains), b.targets) for b, s in scored]
        return torch.cat(ranks)

    def _without_gains(
        self, batches: Sequence[Batch], layer: Tensor, pull: float
    ) -> Iterator[Tensor]:
        popularity = self._popularity()
        for batch in batches:
            yield super().scores(batch.inputs, layer).add_(popularity, alpha=pull)

    def _popularity(self) -> Tensor:
        """Logarithm of each item's clicks in the last block (I,), those never clicked below all."""
        return (self.clicks + 0.5).log()

    @torch.no_grad()
    def grow(self, n_items: int, generator: torch.Generator, item_bound: float) -> None:
        """Append rows for new items (`SessionModel.grow`); none of them was clicked yet."""
        new = n_items - self.n_items
        super().grow(n_items, generator, item_bound)
        self.clicks = functional.pad(self.clicks, (0, new))
        self.companions = functional.pad(self.companions, (0, 0, 0, new))
        self.together = functional.pad(self.together, (0, 0, 0, new))

    def anticipate(self, block: Iterable[Batch]) -> None:
        """Guess the gains of a first model (`SessionModel.anticipate`)."""
        self.gains.copy_(first_gains((batch.inputs, batch.targets) for batch in block))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:  # noqa: ARG002
        """Start from weights that fall with age alone."""
        self.age.copy_(torch.arange(len(self.age)) * (math.log(RECENCY) / AGE_RATE))


class _Directions(torch.autograd.Function):
    """Rows scaled to length 1 after dropout, and the gradient through both, in few passes."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, dropped: float) -> Tensor:
        kept = random_mask(table, dropped) if dropped else None
        rows = table if kept is None else table * kept  # (I, D)
        scale = _scales(rows)
        directions: Tensor = rows * scale
        ctx.save_for_backward(directions, scale)
        ctx.kept = kept
        return directions

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        directions, scale = ctx.saved_tensors  # (I, D), (I, 1)
        along = torch.linalg.vecdot(upstream[0], directions)[:, None]
        gradient: Tensor = torch.addcmul(upstream[0], directions, along, value=-1).mul_(scale)
        return gradient if ctx.kept is None else gradient.mul_(ctx.kept), None


def _scales(rows: Tensor) -> Tensor:
    """By what rows (I, D) are multiplied to have length 1: (I, 1)."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return lengths.clamp_min_(1e-12).reciprocal_()
