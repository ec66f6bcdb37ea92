"""The base of every session model: one item table, for inputs and for scores.

B sessions, N positions, D width, I items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ader_stream.ader.data.arrays import Bools
from ader_stream.ader.data.dataset import Batch
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.evidence import Decay
from ader_stream.ader.data.packed_batch import PackedBatch
from ader_stream.ader.progress import no_progress

POPULARITY = Decay(2.0**15)
"""Decay of an item's clicks: popularity changes within days."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The architecture of a model, which its weights must agree with.

    Parameters
    ----------
    hidden
        Width D of items and layers.
    blocks
        Self-attention blocks.
    maxlen
        Clicks of a session that the model reads; older ones are cut.
    encoder
        A name in `encoders.ENCODERS`.
    temperature
        Divisor of the scores; 1 where the encoder has none.
    members
        Models of an ensemble, each with its part of the width, where the encoder allows several.
    """

    hidden: int
    blocks: int
    maxlen: int
    encoder: str = "sasrec"
    temperature: float = 1.0
    members: int = 1


@dataclass(frozen=True, slots=True)
class DropoutShares:
    """Shares that training drops.

    Parameters
    ----------
    activations
        Of the layers' activations.
    items
        Of the output layer's coordinates, where the encoder drops any.
    """

    activations: float = 0.0
    items: float = 0.0


NO_DROPOUT = DropoutShares()


class _LookUp(torch.autograd.Function):
    """The item table, whole and by rows: both gradients are added up in one matrix, in place.

    Torch's own functions would fill a matrix of (I, D) for the few rows looked up and add it to
    the output layer's.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(rows)
        return table.view_as(table), table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        by_table, by_rows = gradients
        return by_table.index_add_(0, ctx.saved_tensors[0], by_rows), None


class SessionModel(nn.Module, ABC):
    """A session's representation, and the items that it is compared with.

    Parameters
    ----------
    architecture
        Width, depth and length.
    n_items
        Items known: item i is row i − 1 of `items.weight`, and padding has no row.
    dropped
        Shares that training drops.

    Attributes
    ----------
    later_additions
        Buffers that older versions do not have: zeros stand for them.
    counted
        Buffers of counts by item (I, …): another model may continue them.
    most_members
        Models that can share the width.
    fitted
        Buffers that `calibrate` fits.
    """

    later_additions: ClassVar[tuple[str, ...]] = ("clicks",)
    counted: ClassVar[tuple[str, ...]] = ("clicks",)
    most_members: ClassVar[int] = 1
    fitted: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, architecture: Architecture, n_items: int, dropped: DropoutShares = NO_DROPOUT
    ) -> None:
        super().__init__()
        self.dropped = dropped
        self.architecture = architecture
        self.items = nn.Embedding(n_items, architecture.hidden)
        self.clicks: Tensor
        self.register_buffer("clicks", torch.zeros(n_items))

    @classmethod
    def upgrade(cls, tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        """Add to an older version's weights what it does not have, in place.

        Parameters
        ----------
        tensors
            The version's weights, by name.
        expected
            Tensors of the names, shapes and types that the model has now.
        """
        for name in cls.later_additions:
            if name not in tensors:
                tensors[name] = torch.zeros(expected[name].shape, dtype=expected[name].dtype)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and what it reads has to be."""
        return self.items.weight.device

    @property
    def n_items(self) -> int:
        """Items known."""
        return self.items.num_embeddings

    def forward(self, inputs: Tensor) -> Tensor:
        """Represent sessions (B, D) of left-padded item indices (B, T), as `represent` does."""
        pieces = PackedBatch([inputs])
        return self.represent(self.items.weight[pieces.rows], pieces)

    @abstractmethod
    def represent(self, embedded: Tensor, pieces: PackedBatch) -> Tensor:
        """Represent sessions.

        Parameters
        ----------
        embedded
            Rows of the item table (N, D) at `pieces.rows`.
        pieces
            The B sessions, none longer than maxlen.

        Returns
        -------
        Tensor
            Session representations (B, D).
        """

    @abstractmethod
    def output_layer(self, table: Tensor) -> Tensor:
        """Make the output layer (I, D) of the item table (I, D)."""

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights but the items, by a generator of the CPU."""

    def item_table(self) -> Tensor:
        """Return the output layer (I, D); column i of the scores belongs to item index i + 1."""
        return self.output_layer(self.items.weight)

    @torch.no_grad()
    def ranked_table(self, precision: torch.dtype = torch.float32) -> Tensor:
        """Return the output layer (I, D) of rankings: what `scores` reads and a teacher teaches."""
        return self.item_table().detach().to(precision)

    def scores(self, inputs: Tensor, layer: Tensor) -> Tensor:
        """Score every item (B, I) after left-padded item indices (B, T), for ranking.

        Parameters
        ----------
        inputs
            Sessions.
        layer
            What `ranked_table` returned.
        """
        scores: Tensor = self(inputs) @ layer.T
        return scores

    def look_up(
        self, batches: Sequence[PackedBatch], columns: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Read the item table for a training step.

        Parameters
        ----------
        batches
            What is read.
        columns
            The K items that are scored; None for all.

        Returns
        -------
        layer, embedded
            The output layer of the items that are scored, (K, D) or (I, D), and `represent`'s
            first argument (N, D) for each of the batches.
        """
        read = [pieces.rows for pieces in batches]
        sizes = list(map(len, read))
        if columns is None:
            table, embedded = _LookUp.apply(self.items.weight, torch.cat(read))
            return self.output_layer(table), torch.split(embedded, sizes)
        items, places = torch.unique(columns, return_inverse=True)
        # At once, for each look-up's gradient is a matrix of all items.
        rows = self.items.weight.index_select(0, torch.cat([*read, items]))
        embedded, scored = torch.split(rows, [sum(sizes), len(items)])
        layer = self.output_layer(scored)  # the same for an item wherever it stands in the step
        return layer.index_select(0, places), torch.split(embedded, sizes)

    def calibrate(
        self, unseen: Iterable[Batch], targets: int, between: Callable[[], None] = no_progress
    ) -> None:
        """Fit the values that training cannot learn to clicks before they are trained on.

        This base class has none.

        Parameters
        ----------
        unseen
            Clicks of the new block, as far as this model knows their items.
        targets
            How many there are in the block, where these are only some of them.
        between
            Called after every batch.
        """

    def copy_calibration(self, other: SessionModel) -> None:
        """Copy the calibrated values of another model of this class."""
        for name in self.fitted:
            getattr(self, name).copy_(getattr(other, name))

    def update_statistics(self, block: EncodedBlock) -> None:
        """Count each item's clicks in the block; earlier ones decay, by `POPULARITY`."""
        clicks = torch.from_numpy(block.weighed_clicks(self.n_items, POPULARITY))
        self.clicks = clicks.to(self.clicks) + POPULARITY.kept(block.counted) * self.clicks

    @torch.no_grad()
    def copy_statistics(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the counts that another model has of the first items.

        Parameters
        ----------
        weights
            Of that model, by name; it may be of another class.
        """
        for name in self.counted:
            if name in weights:
                counted = self.get_buffer(name)
                counted[: len(weights[name])] = weights[name].to(counted)

    def init_calibration(self, block: Iterable[Batch]) -> None:
        """Set first values of what `calibrate` fits later from the first block; here: none."""

    @torch.no_grad()
    def grow(self, n_items: int, generator: torch.Generator, item_bound: float) -> None:
        """Append rows for new items; the old rows stay as they are.

        Parameters
        ----------
        n_items
            Items known afterwards.
        generator
            Source of the new rows.
        item_bound
            New rows are uniform in ±item_bound.
        """
        old = self.items.weight  # (I, D)
        new = torch.empty(n_items - self.n_items, old.shape[1])  # drawn alike for every device
        new.uniform_(-item_bound, item_bound, generator=generator)
        self.items.weight = nn.Parameter(torch.cat([old, new.to(old)]))
        self.items.num_embeddings = n_items
        self.clicks = functional.pad(self.clicks, (0, len(new)))

    @torch.no_grad()
    def keep(self, kept: Bools) -> None:
        """Drop the rows of all other items (I,); the rest keeps its order.

        Parameters
        ----------
        kept
            Which of the items stay.
        """
        rows = torch.from_numpy(kept).to(self.device)
        self.items.weight = nn.Parameter(self.items.weight[rows])
        self.items.num_embeddings = len(self.items.weight)
        self.clicks = self.clicks[rows]
