"""What the lists of recommended items are made of, whether they are right or not."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from ader_stream.ader.dataset import Samples, by_length, pack
from ader_stream.ader.model import SessionModel
from ader_stream.ader.ranking import best_of, chunk_rows


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
