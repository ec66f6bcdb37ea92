"""Compare the clicks by item of two samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.distances import ENOUGH, Distance, js_distance, psi_distance

Float64 = npt.NDArray[np.float64]

BINS = 10
"""Popularity bins: each has a tenth of the reference's clicks, as is usual for PSI."""

TOP_ITEMS = 100
"""Items of which the shift at the top is measured; fewer if they have few clicks."""

MOST_ITEMS = 10_000
"""Items of which the divergence is measured, at most; the others are one bin."""


class Popularity:
    """Clicks of two samples on the items of the reference, most popular first.

    Items that the reference does not have are left out: their share is a signal of its own.
    """

    def __init__(self, current: BlockStatistics, reference: BlockStatistics) -> None:
        before, now = reference.items.weights(), current.items.weights()
        # Equal counts are sorted by id: no result depends on the order of the clicks.
        items = sorted(before, key=lambda item: (-before[item], item))
        self.before = np.array([before[item] for item in items], np.float64)
        self.now = np.array([now.get(item, 0.0) for item in items], np.float64)
        known = self.now.sum() / max(current.clicks, 1)
        self._sessions = current.sessions * known, float(reference.sessions)
        self._clicks = (
            (current.clicks - current.repeat_clicks) * known,
            float(reference.clicks - reference.repeat_clicks),
        )

    def bins(self) -> Distance:
        """Return the PSI over bins of equal clicks in the reference."""
        total = self.before.sum() or 1.0
        # An item belongs to the bin in which its first click lies.
        position = (np.cumsum(self.before) - self.before) / total
        number = np.minimum((position * BINS).astype(np.int64), BINS - 1)
        one, other = (np.bincount(number, part, BINS) for part in (self.now, self.before))
        return psi_distance(one, other, *self._sessions)

    def top(self) -> Distance:
        """Return the PSI over the top items, and all others as one bin."""
        return psi_distance(*self._head(TOP_ITEMS), *self._clicks)

    def divergence(self) -> Distance:
        """Return the Jensen-Shannon divergence over the items with enough clicks to compare."""
        return js_distance(*self._head(MOST_ITEMS), *self._clicks)

    def _head(self, most: int) -> tuple[Float64, Float64]:
        """Return clicks on the first items now and before, and the rest as one bin.

        An item is among them if the smaller sample should have `ENOUGH` clicks on it.
        """
        ratio = min(1.0, self.now.sum() / (self.before.sum() or 1.0))
        count = min(most, int(np.count_nonzero(self.before * ratio >= ENOUGH)))
        return _cut(self.now, count), _cut(self.before, count)


def _cut(counts: Float64, count: int) -> Float64:
    return np.append(counts[:count], counts[count:].sum())
