"""Retention of items: those without a click for some blocks leave, unless an exemplar has them.

A shop that changes its catalogue would otherwise keep rows, statistics and ids of every item that
it ever sold. Time is counted in blocks that a version and its parents were trained on: while a shop
is closed, or after a version is rejected, no item becomes older.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.arrays import Bools, Int32


@dataclass(frozen=True, slots=True)
class Retention:
    """How long items without a click stay.

    Parameters
    ----------
    blocks
        An item leaves when it was not clicked in so many blocks, those of the cycle included; 0:
        every item stays.
    elapsed
        Blocks that the cycle trains on.
    """

    blocks: int = 0
    elapsed: int = 1

    def due(self, before: State) -> Bools:
        """Return which items leave unless the cycle's blocks show a click on them (I,)."""
        if not self.blocks:
            return np.zeros(len(before.vocabulary), np.bool_)
        is_due = before.idle + self.elapsed >= self.blocks
        is_due[before.exemplars.items - 1] = False
        return is_due

    def idle_after(self, before: State, clicked: Bools) -> Int32:
        """Return the number of blocks since each item's last click, after the cycle (I,).

        Parameters
        ----------
        before
            Without the items that left.
        clicked
            Items with a click that is not held out, new items after the known ones (I,).
        """
        idle = np.zeros(len(clicked), np.int32)
        idle[: len(before.idle)] = before.idle + self.elapsed
        return np.where(clicked, np.int32(0), idle)


FOREVER = Retention()
"""No item leaves."""
