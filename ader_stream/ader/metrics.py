"""What a test says beside recall and MRR: its parts, and what the recommended lists are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples, by_length, left_padded, pack
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import best_of, chunk_rows
from ader_stream.types import Counts

COMPARED_ROWS = 8_192
"""Prefixes compared with their target at a time."""


def slice_counts(
    samples: Samples, ranks: Int64, old_items: int, count: Callable[[Int64], Counts]
) -> dict[str, Counts]:
    """Count the targets of a test in pairs of parts that each make up the whole.

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
    count
        Of the ranks of a part.
    """
    parts = {
        ("new_items", "old_items"): samples.labels > old_items,
        ("first_click", "later_clicks"): samples.lengths == 1,
        ("repeats", "discoveries"): repeated(samples),
    }
    return {
        name: count(ranks[mask])
        for (one, other), is_one in parts.items()
        for name, mask in ((one, is_one), (other, ~is_one))
    }


def repeated(samples: Samples) -> npt.NDArray[np.bool_]:
    """Tell which targets stand in their own input (S,)."""
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
        ``coverage``: known items that stand in a list at all, in percent. ``effective_items``:
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
