"""The model of recipe `production`: a session is a weighted sum of its items' embeddings.

After CORE (Hou, Hu, Zhang, Zhao: Simple and Effective Session-based Recommendation within
Consistent Representation Space, SIGIR 2022, arXiv 2204.11067): a session is a weighted sum of its
own items, and scores are cosines over a temperature. There the weights come from a transformer,
which overfits blocks of a week; here they depend only on each click's age and its likeness to the
last one. A cosine of sums is the same from b to a as from a to b: one linear map, the same for all
sessions, lets the model learn the direction. For ranking, an item's direction is blended with those
of its co-clicked items: the counts keep what the table has forgotten, and give rare items useful
directions (as label propagation does, and graph convolutions without weights: SGC, Wu et al., ICML
2019, arXiv 1902.07153). With several members (`members`), each is such a model in its part of the
width.

B sessions, N positions, D width, I items, K co-clicked items, M members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ader_stream.ader.data.arrays import Bools
from ader_stream.ader.data.dataset import Batch
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.evidence import Decay, EvidenceWeights, best_candidate
from ader_stream.ader.data.packed_batch import PackedBatch
from ader_stream.ader.data.vocabulary import PADDING
from ader_stream.ader.models.base import NO_DROPOUT, Architecture, DropoutShares, SessionModel
from ader_stream.ader.models.co_clicks import PARTNERS, CoClicks, co_click_shares
from ader_stream.ader.models.layers import Dropout, random_mask
from ader_stream.ader.models.ranking import ranks_of
from ader_stream.ader.models.repeat_clicks import (
    AGES,
    CANDIDATES,
    FIRST_GAINS,
    KINDS,
    RepeatClicks,
    add_gains,
    best_gains,
    by_kind,
    first_gains,
    hits,
    observe_repeat_clicks,
    reciprocal_ranks,
)
from ader_stream.ader.progress import no_progress

RECENCY = 0.7
"""Weight of a click against the next one's, where training starts."""

AGE_RATE, LIKENESS_RATE = 3.0, 5.0
"""How much faster than an item's coordinate the weights of age and likeness learn."""

TURN_RATE = 0.1
"""How much slower than an item's coordinate the map's learn: all sessions move each of them."""

PULLS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Weights of the logarithm of an item's clicks that are tried."""

NEVER_CLICKED = 0.05
"""Clicks added to every item's count: so few that an item without any keeps losing popularity."""

FITTED = Decay(2.0**15)
"""Decay of the targets that blend, pull and gains are fitted to."""

EVIDENCE = ("blend_evidence", "pull_evidence", "gain_evidence")
"""Buffers of the evidence for each candidate value, in targets ranked first."""

FIRST_PULL = 0.1
"""Before any ranking: about the best on DIGINETICA's first cycles."""

BLENDS = (0.0, 0.4, 0.8)
"""Weights of co-clicked items in an item's direction that are tried; 0 at first."""

BLENDED_ROWS = 2**14
"""Items that are blended at a time: the memory does not grow with the table."""


class Core(SessionModel):
    """A session is the direction of the weighted sum of its items' directions, turned onward.

    Parameters
    ----------
    architecture, n_items, dropped
        See `SessionModel`.
    """

    later_additions = ("companions", "together", "blend", *EVIDENCE)
    counted = ("clicks", "companions", "together")
    most_members = 16
    fitted = ("blend", "pull", "gains", *EVIDENCE)

    def __init__(
        self, architecture: Architecture, n_items: int, dropped: DropoutShares = NO_DROPOUT
    ) -> None:
        super().__init__(architecture, n_items, dropped)
        self.dropout = Dropout(dropped.activations)
        members, width = architecture.members, architecture.hidden // architecture.members
        each = () if members == 1 else (members,)  # one alone is stored as before there were more
        self.age = nn.Parameter(torch.zeros(*each, architecture.maxlen))
        self.likeness = nn.Parameter(torch.zeros(each))
        self.turn = nn.Parameter(torch.zeros(*each, width, width))
        self.gains: Tensor
        self.register_buffer("gains", by_kind(FIRST_GAINS))
        self.pull: Tensor
        self.register_buffer("pull", torch.tensor(FIRST_PULL))
        self.companions: Tensor
        self.register_buffer("companions", torch.zeros(n_items, PARTNERS, dtype=torch.int32))
        self.together: Tensor
        self.register_buffer("together", torch.zeros(n_items, PARTNERS))
        self.blend: Tensor
        self.register_buffer("blend", torch.zeros(()))
        self.blend_evidence: Tensor
        self.register_buffer("blend_evidence", torch.zeros(len(BLENDS)))
        self.pull_evidence: Tensor
        self.register_buffer("pull_evidence", torch.zeros(len(PULLS)))
        self.gain_evidence: Tensor
        self.register_buffer("gain_evidence", torch.zeros(KINDS, len(CANDIDATES)))

    @classmethod
    def upgrade(cls, tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        """Copy gains that were fitted by age alone to each kind (`SessionModel.upgrade`)."""
        super().upgrade(tensors, expected)
        for name in ("gains", "gain_evidence"):
            if name in tensors and tensors[name].shape[:1] == (AGES,):
                tensors[name] = by_kind(tensors[name])

    def represent(self, embedded: Tensor, pieces: PackedBatch) -> Tensor:
        """Represent sessions, 1 / temperature long (`SessionModel.represent`).

        With M members, each part is an M-th of that: a product with the whole is their mean.
        """
        members = self.architecture.members
        age, likeness = self.age.view(members, -1), self.likeness.view(members)
        turn = self.turn.view(members, -1, self.turn.shape[-1])
        directions = [
            self._direction(*own, pieces)
            for own in zip(embedded.chunk(members, 1), age, likeness, turn, strict=True)
        ]
        return torch.cat(directions, 1) / (members * self.architecture.temperature)

    def _direction(
        self, embedded: Tensor, age: Tensor, likeness: Tensor, turn: Tensor, pieces: PackedBatch
    ) -> Tensor:
        """Return one member's representation of the sessions (B, D / M)."""
        units = functional.normalize(embedded, dim=-1)  # (N, D / M)
        kept = self.dropout(units)
        by_age = AGE_RATE * age.index_select(0, pieces.ages)  # (N,)
        sizes = [piece.numel() for piece in pieces.inputs]
        cut = (torch.split(whole, sizes) for whole in (units, kept, by_age))
        summed = [
            _sum(LIKENESS_RATE * likeness, *piece)
            for piece in zip(pieces.inputs, *cut, strict=True)
        ]
        seen = functional.normalize(torch.cat(summed), dim=-1)  # (B, D / M)
        return functional.normalize(seen + TURN_RATE * (seen @ turn), dim=-1)

    def output_layer(self, table: Tensor) -> Tensor:
        """Score with the directions of the items, some of their coordinates dropped."""
        dropped = self.dropped.items if self.training else 0.0
        width = self.architecture.hidden // self.architecture.members
        directions: Tensor = _Directions.apply(table.reshape(-1, width), dropped)
        return directions.view_as(table)

    @torch.no_grad()
    def ranked_table(self, precision: torch.dtype = torch.float32) -> Tensor:
        """Blend each item's direction with its co-clicks' (`SessionModel.ranked_table`)."""
        members, sums = self.architecture.members, self.together.sum(1)
        layer = torch.empty_like(self.items.weight, dtype=precision)
        for own, blended in zip(
            self.items.weight.chunk(members, 1), layer.chunk(members, 1), strict=True
        ):
            table, scales = own.contiguous(), _scales(own)
            for first in range(0, self.n_items, BLENDED_ROWS):
                rows = slice(first, first + BLENDED_ROWS)
                others = (self.companions[rows].long() - 1).clamp_(min=0)  # padding: no share
                shares = self.blend * co_click_shares(others, self.together[rows], sums[rows], sums)
                shares *= scales[:, 0][others]
                summed = functional.embedding_bag(
                    others, table, per_sample_weights=shares, mode="sum"
                )
                summed.addcmul_(table[rows], scales[rows])
                blended[rows] = summed.mul_(_scales(summed))
        return layer

    def scores(self, inputs: Tensor, layer: Tensor) -> Tensor:
        """Score sessions (`SessionModel.scores`).

        Popularity adds to an item's score, recent clicks most, and the gains of repeat clicks add
        to a session's own items.
        """
        return add_gains(self._without_gains(inputs, layer, self.pull), inputs, self.gains)

    def update_statistics(self, block: EncodedBlock) -> None:
        """Count each item's clicks and co-clicks (`SessionModel.update_statistics`)."""
        super().update_statistics(block)
        self._set_co_clicks(self._co_clicks().after(block, self.n_items))

    def _co_clicks(self) -> CoClicks:
        return CoClicks(self.companions.numpy(force=True), self.together.numpy(force=True))

    def _set_co_clicks(self, found: CoClicks) -> None:
        self.companions = torch.from_numpy(found.items).to(self.companions)
        self.together = torch.from_numpy(found.counts).to(self.together)

    @torch.no_grad()
    def calibrate(
        self, unseen: Iterable[Batch], targets: int, between: Callable[[], None] = no_progress
    ) -> None:
        """Fit blend, pull and gains to the ranks of these clicks and, with decay, of earlier ones.

        See `SessionModel.calibrate`.
        """
        batches = list(unseen)
        weights = EvidenceWeights.of(sum(len(batch.targets) for batch in batches), targets, FITTED)
        if batches:
            self._choose_blend(batches, weights, between)
            self._choose_pull(batches, weights, between)
            observed = self._observed(batches, between)
            gains, evidence = best_gains(observed, self.gains, self.gain_evidence, weights)
            self.gains.copy_(gains)
            self.gain_evidence.copy_(evidence)

    def _choose_blend(
        self, batches: Sequence[Batch], weights: EvidenceWeights, between: Callable[[], None]
    ) -> None:
        current, merits = self.blend.item(), []
        for blend in BLENDS:
            self.blend.fill_(blend)
            [ranks] = self._ranks(batches, [self.pull.item()], between)
            merits.append(hits(ranks) + reciprocal_ranks(ranks))
        self.blend_evidence = weights.add(self.blend_evidence, torch.tensor(merits))
        self.blend.copy_(best_candidate(torch.tensor(BLENDS), self.blend_evidence.cpu(), current))

    def _choose_pull(
        self, batches: Sequence[Batch], weights: EvidenceWeights, between: Callable[[], None]
    ) -> None:
        merits = [reciprocal_ranks(ranks) for ranks in self._ranks(batches, PULLS, between)]
        self.pull_evidence = weights.add(self.pull_evidence, torch.tensor(merits))
        current = self.pull.item()
        self.pull.copy_(best_candidate(torch.tensor(PULLS), self.pull_evidence.cpu(), current))

    def _ranks(
        self, batches: Sequence[Batch], pulls: Sequence[float], between: Callable[[], None]
    ) -> Tensor:
        """Return the zero-based ranks of all batches' targets, with each pull: (pulls, S)."""
        layer, popularity, ranks = self.ranked_table(), self._popularity(), []
        for batch in batches:
            plain = super().scores(batch.inputs, layer)
            pulled = (plain + pull * popularity for pull in pulls)
            gained = (add_gains(scores, batch.inputs, self.gains) for scores in pulled)
            ranks.append(torch.stack([ranks_of(scores, batch.targets) for scores in gained]))
            between()
        return torch.cat(ranks, 1)

    def _observed(
        self, batches: Sequence[Batch], between: Callable[[], None]
    ) -> Iterator[RepeatClicks]:
        """Yield the repeat clicks of each batch, with the fitted pull."""
        layer = self.ranked_table()
        for batch in batches:
            scores = self._without_gains(batch.inputs, layer, self.pull.item())
            yield observe_repeat_clicks(scores, batch.inputs, batch.targets)
            between()

    def _without_gains(self, inputs: Tensor, layer: Tensor, pull: Tensor | float) -> Tensor:
        """Return the scores of sessions (B, I) without the gains of repeat clicks."""
        return super().scores(inputs, layer).add_(pull * self._popularity())

    def _popularity(self) -> Tensor:
        """Return the logarithm of each item's clicks (I,), older ones decayed."""
        return (self.clicks + NEVER_CLICKED).log()

    @torch.no_grad()
    def grow(self, n_items: int, generator: torch.Generator, item_bound: float) -> None:
        """Append rows for new items (`SessionModel.grow`), without co-clicks."""
        new = n_items - self.n_items
        super().grow(n_items, generator, item_bound)
        self.companions = functional.pad(self.companions, (0, 0, 0, new))
        self.together = functional.pad(self.together, (0, 0, 0, new))

    @torch.no_grad()
    def keep(self, kept: Bools) -> None:
        """Drop the rows of all other items (`SessionModel.keep`), and their co-clicks."""
        super().keep(kept)
        self._set_co_clicks(self._co_clicks().keep(kept))

    def init_calibration(self, block: Iterable[Batch]) -> None:
        """Set the first gains (`SessionModel.init_calibration`)."""
        self.gains.copy_(first_gains((batch.inputs, batch.targets) for batch in block))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:  # noqa: ARG002
        """Set weights that decrease with age alone (`SessionModel.initialise`)."""
        self.age.copy_(torch.arange(self.age.shape[-1]) * (math.log(RECENCY) / AGE_RATE))


class _Directions(torch.autograd.Function):
    """Rows scaled to length 1 after dropout, with the gradient of both in few passes."""

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


def _sum(likeness: Tensor, inputs: Tensor, units: Tensor, kept: Tensor, by_age: Tensor) -> Tensor:
    """Return the weighted sum of the items of sessions (b, t): (b, D / M)."""
    b, t = inputs.shape
    units = units.view(b, t, -1)
    logits = by_age.view(b, t) + likeness * (units * units[:, -1:]).sum(-1)  # (b, t)
    lowest = torch.finfo(logits.dtype).min
    weights = logits.masked_fill(inputs == PADDING, lowest).softmax(-1)  # (b, t)
    summed: Tensor = (weights[:, None] @ kept.view(b, t, -1))[:, 0]
    return summed


def _scales(rows: Tensor) -> Tensor:
    """Return the factors that scale rows (I, D) to length 1: (I, 1)."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return lengths.clamp_min_(1e-12).reciprocal_()
