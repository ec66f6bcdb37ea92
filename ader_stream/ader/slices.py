"""Which targets are hit: the same test in parts, and what the lists of 20 are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ader_stream.ader.arrays import Int64
from ader_stream.ader.dataset import Samples, by_length, left_padded
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
