"""Fixed bins of session length and of the time between clicks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

LENGTH_BINS = 48
"""Clicks of a session: bins 0 … 31 are 1 … 32 clicks; the others double: 33 … 64, 65 … 128 …"""

INTERVAL_BINS = 96
"""Time between clicks, two bins for each doubling: bin 0 is below 1 ms, bin b > 0 is
[2**((b-1)/2), 2**(b/2)) ms. A factor of 1000 is 20 bins; the last one starts at about 6,000
years."""


def length_bins(lengths: Int64) -> Int64:
    """Return the bin of each session length.

    >>> length_bins(np.array([1, 2, 32, 33, 64, 65])).tolist()
    [0, 1, 31, 32, 32, 33]
    """
    doublings = np.ceil(np.log2(np.maximum(lengths, 33) / 32)).astype(np.int64)
    return np.where(lengths <= 32, lengths - 1, np.minimum(31 + doublings, LENGTH_BINS - 1))


def interval_bins(intervals: Int64) -> Int64:
    """Return the bin of each time between two clicks, ms.

    >>> interval_bins(np.array([0, 1, 2, 4, 1_000, 1_000_000])).tolist()
    [0, 1, 3, 5, 20, 40]
    """
    halves = np.floor(2 * np.log2(np.maximum(intervals, 1))).astype(np.int64) + 1
    return np.where(intervals < 1, 0, np.minimum(halves, INTERVAL_BINS - 1))
