"""Co-clicks: counts of items that are clicked one after the other.

Thirty thousand exemplars are hardly one for each of as many items. The counts of co-clicks take a
few numbers an item, and decay with every click.

I items, K co-clicked items of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ader_stream.ader.data.arrays import Bools, Float32, Float64, Int32, Int64
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.evidence import Decay
from ader_stream.ader.data.vocabulary import renumbered

PARTNERS = 8
"""K, the co-clicked items kept of each item: with four or sixty-four, lists are as good."""

CO_CLICK_DECAY = Decay(2.0**17)
"""Decay of a co-click: which items are clicked together changes slowly."""

LEAST_COUNT = 1e-3
"""Of a pair of items, in clicks; a lower count is dropped."""


@dataclass(frozen=True, eq=False)
class CoClicks:
    """The K items that are most often co-clicked with each item.

    Parameters
    ----------
    items
        Item indices (I, K), the most frequent first; padding where there are fewer.
    counts
        How often (I, K), older clicks counting less; 0 for padding.
    """

    items: Int32
    counts: Float32

    def after(self, block: EncodedBlock, n_items: int, decay: Decay = CO_CLICK_DECAY) -> CoClicks:
        """Return the counts after a block: the earlier ones decay, its pairs count both ways.

        Parameters
        ----------
        block
            Each target that may be learned is a co-click with the click before it.
        n_items
            Items known afterwards.
        decay
            Of the counts.

        >>> block = EncodedBlock.of([[1, 2, 1]], maxlen=9)
        >>> first = CoClicks.none().after(block, 2)
        >>> first.items[:, :2].tolist(), first.counts[:, :2].round().tolist()
        ([[2, 0], [1, 0]], [[2.0, 0.0], [2.0, 0.0]])
        """
        targets = block.training_samples().targets
        targets = targets[block.items[targets - 1] != block.items[targets]]
        before, clicked = block.items[targets - 1], block.items[targets]
        weights, kept = decay.weights(block.clicks_after()[targets]), decay.kept(block.counted)
        rows, places = np.nonzero(self.counts)
        return _most_frequent(
            np.concatenate([rows + 1, before, clicked]),
            np.concatenate([self.items[rows, places], clicked, before]),
            np.concatenate([kept * self.counts[rows, places], weights, weights]),
            n_items,
        )

    def keep(self, kept: Bools) -> CoClicks:
        """Return the co-clicks of the items (I,) that stay, among themselves."""
        items = renumbered(kept)[self.items[kept]]
        counts = np.where(items, self.counts[kept], np.float32(0))
        order = np.argsort(-counts, axis=1, kind="stable")
        return CoClicks(*(np.take_along_axis(of, order, 1) for of in (items, counts)))

    @classmethod
    def none(cls) -> CoClicks:
        """Return the counts of no items."""
        return cls(np.zeros((0, PARTNERS), np.int32), np.zeros((0, PARTNERS), np.float32))


def _most_frequent(items: Int64, others: Int64, counts: Float64, n_items: int) -> CoClicks:
    """Add up the counts of each pair, and keep the K highest of an item; of equal ones, the first.

    Items, the others and counts are side by side (P,).
    """
    pairs, which = np.unique(items.astype(np.int64) * (n_items + 1) + others, return_inverse=True)
    items, others = np.divmod(pairs, n_items + 1)
    added = np.bincount(which, counts).astype(np.float64)
    order = np.lexsort((others, -added, items))
    items, others, added = items[order], others[order], added[order]
    _, starts, sizes = np.unique(items, return_index=True, return_counts=True)
    places = np.arange(len(items)) - np.repeat(starts, sizes)
    kept = (places < PARTNERS) & (added > LEAST_COUNT)
    found = CoClicks(
        np.zeros((n_items, PARTNERS), np.int32), np.zeros((n_items, PARTNERS), np.float32)
    )
    where = items[kept] - 1, places[kept]
    found.items[where], found.counts[where] = others[kept], added[kept]
    return found


def co_click_shares(rows: Tensor, counts: Tensor, sums: Tensor, all_sums: Tensor) -> Tensor:
    """Return the weight of each co-click of some items (i, K): its count over both items' counts.

    Parameters
    ----------
    rows
        Rows of the co-clicked items (i, K) in the table; any where the count is 0.
    counts
        Of `CoClicks`, those of the items (i, K).
    sums, all_sums
        Sums of the counts of these items (i,), and of all items (I,).
    """
    return counts / torch.sqrt(sums[:, None] * all_sums[rows]).clamp(min=1e-9)
