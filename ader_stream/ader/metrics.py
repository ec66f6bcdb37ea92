"""Metrics of rankings: recall and MRR, their slices, and coverage and diversity of lists.

`count_ranks` is the one function that counts hits and reciprocal ranks: evaluation, validation, the
gate and live scoring share it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ader_stream.ader.data.arrays import Bools, Int64
from ader_stream.ader.data.dataset import Samples, by_length, left_padded, pack
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import best_of, chunk_rows
from ader_stream.types import RECIPROCAL_UNIT, Counts

LIST = 20
"""Length of the longest list that is counted: a target ranked behind it is a miss."""

COMPARED_ROWS = 8_192
"""Prefixes compared with their target at a time."""


def is_hit(ranks: Int64, k: int = LIST) -> Bools:
    """Return which zero-based ranks (S,) are within a list of k items."""
    return ranks < k


def reciprocal_ranks(ranks: Int64) -> Int64:
    """Return 1 / (rank + 1) in units of `RECIPROCAL_UNIT` (S,), and 0 for a miss.

    >>> reciprocal_ranks(np.array([0, 1, 20])) / RECIPROCAL_UNIT
    array([1. , 0.5, 0. ])
    """
    return np.where(is_hit(ranks), RECIPROCAL_UNIT // (ranks + 1), 0)


def count_ranks(ranks: Int64) -> Counts:
    """Count hits and reciprocal ranks of zero-based ranks (S,).

    >>> count_ranks(np.array([0, 1, 12, 20])).percentages()["recall@20"]
    75.0
    """
    is_in_10, reciprocal = is_hit(ranks, 10), reciprocal_ranks(ranks)
    return Counts(
        targets=len(ranks),
        hits10=int(np.count_nonzero(is_in_10)),
        hits20=int(np.count_nonzero(is_hit(ranks, 20))),
        reciprocal10=int(reciprocal[is_in_10].sum()),
        reciprocal20=int(reciprocal.sum()),
    )


def slice_counts(samples: Samples, ranks: Int64, old_items: int) -> dict[str, Counts]:
    """Count the targets of a test in pairs of slices that each make up the whole.

    ===================================  =========================================================
    ``new_items``, ``old_items``         the target was first seen in the block trained last, or
                                         before it
    ``first_click``, ``later_clicks``    one known click stands before the target, or more
    ``repeats``, ``discoveries``         the target is among the clicks that the model reads, or not
    ===================================  =========================================================

    Parameters
    ----------
    samples, ranks
        Targets with their prefixes and zero-based ranks (S,).
    old_items
        Items known before the last block.
    """
    slices = {
        ("new_items", "old_items"): samples.labels > old_items,
        ("first_click", "later_clicks"): samples.lengths == 1,
        ("repeats", "discoveries"): repeated(samples),
    }
    return {
        name: count_ranks(ranks[mask])
        for (one, other), is_one in slices.items()
        for name, mask in ((one, is_one), (other, ~is_one))
    }


def repeated(samples: Samples) -> npt.NDArray[np.bool_]:
    """Return which targets are items of their own input (S,)."""
    found = np.zeros(len(samples), dtype=np.bool_)
    for rows in by_length(samples.lengths, COMPARED_ROWS):
        part = samples.take(rows)
        inputs = left_padded(part.items, part.starts, part.targets).numpy()  # (B, T)
        found[rows] = (inputs == part.labels[:, None]).any(1)
    return found


@torch.no_grad()
def describe_lists(model: SessionModel, samples: Samples, k: int = 20) -> dict[str, float]:
    """Describe the k best items after each sample's input.

    Parameters
    ----------
    model
        In eval mode.
    samples
        Whose inputs are read (S,).
    k
        Length of the lists; all known items where there are fewer.

    Returns
    -------
    dict
        ``coverage``: known items that are in any list, in percent. ``effective_items``:
        exp of the entropy of the items' shares in all lists; so many items, equally often shown,
        would be as mixed. ``diversity``: 1 − mean cosine between the item embeddings of a list,
        averaged over the lists. Empty without samples.
    """
    k = min(k, model.n_items)
    shown = np.zeros(model.n_items, dtype=np.int64)
    layer = model.ranked_table()
    directions = functional.normalize(model.item_table())  # (I, D)
    cosines = 0.0
    for rows in by_length(samples.lengths, chunk_rows(model)):
        inputs = pack(samples, rows, model.device).inputs
        columns, _ = best_of(model.scores(inputs, layer), k)  # (B, k)
        shown += np.bincount(columns.flatten().numpy(force=True), minlength=len(shown))
        together = directions[columns].sum(1).square().sum(1)  # (B,) Σ_ij cos(i, j)
        cosines += float((together - k).sum()) / max(1, k * (k - 1))
    if not len(samples):
        return {}
    shares = shown[shown > 0] / shown.sum()
    return {
        "coverage": 100 * len(shares) / model.n_items,
        "effective_items": math.exp(-float(shares @ np.log(shares))),
        "diversity": 1 - cosines / len(samples),
    }
