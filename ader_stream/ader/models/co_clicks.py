"""Which items are clicked one after the other: what exemplars are too few to remember.

Thirty thousand exemplars tell hardly one thing about each of as many items. How often two items
stood next to each other takes a few numbers an item, and fades with every click.

I items, K companions of each.
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
"""K: with four or sixty-four of them, lists are as good."""

CO_CLICK_DECAY = Decay(2.0**17)
"""How two clicks next to each other lose weight: the company that items keep changes slowly."""


FORGOTTEN = 1e-3
"""Of a click; what has less left than that is not kept."""


@dataclass(frozen=True, eq=False)
class CoClicks:
    """The K items that each item stood next to most often.

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
        """Let what is known fade, and count the block's neighbours, either way alike.

        Parameters
        ----------
        block
            Each target that may be learnt stands next to the click before it.
        n_items
            Items known afterwards.
        decay
            How clicks lose weight.

        >>> block = EncodedBlock.of([[1, 2, 1]], maxlen=9)
        >>> first = CoClicks.nobody().after(block, 2)
        >>> first.items[:, :2].tolist(), first.counts[:, :2].round().tolist()
        ([[2, 0], [1, 0]], [[2.0, 0.0], [2.0, 0.0]])
        """
        targets = block.training_samples().targets
        targets = targets[block.items[targets - 1] != block.items[targets]]
        before, clicked = block.items[targets - 1], block.items[targets]
        weights, kept = decay.weights(block.since()[targets]), decay.kept(block.counted)
        rows, places = np.nonzero(self.counts)
        return _most_frequent(
            np.concatenate([rows + 1, before, clicked]),
            np.concatenate([self.items[rows, places], clicked, before]),
            np.concatenate([kept * self.counts[rows, places], weights, weights]),
            n_items,
        )

    def keep(self, kept: Bools) -> CoClicks:
        """Return those of the items (I,) that stay; one that leaves is nobody's companion."""
        items = renumbered(kept)[self.items[kept]]
        counts = np.where(items, self.counts[kept], np.float32(0))
        order = np.argsort(-counts, axis=1, kind="stable")
        return CoClicks(*(np.take_along_axis(of, order, 1) for of in (items, counts)))

    @classmethod
    def nobody(cls) -> CoClicks:
        """Know no item."""
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
    kept = (places < PARTNERS) & (added > FORGOTTEN)
    found = CoClicks(
        np.zeros((n_items, PARTNERS), np.int32), np.zeros((n_items, PARTNERS), np.float32)
    )
    where = items[kept] - 1, places[kept]
    found.items[where], found.counts[where] = others[kept], added[kept]
    return found


def company(rows: Tensor, counts: Tensor, sums: Tensor, all_sums: Tensor) -> Tensor:
    """How much each companion says of some items (i, K): its count, against both items' counts.

    Parameters
    ----------
    rows
        The companions' rows (i, K) in the table; any where the count is 0.
    counts
        Of `CoClicks`, those of the items (i, K).
    sums, all_sums
        Sums of the items' counts (i,), and of everybody's (I,).
    """
    return counts / torch.sqrt(sums[:, None] * all_sums[rows]).clamp(min=1e-9)
