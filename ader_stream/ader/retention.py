"""Which items leave a catalogue: those that nobody clicks any more, and that no exemplar holds.

A shop that renews itself would otherwise have rows, statistics and ids of everything that it ever
sold. Time is counted in blocks that a version and its parents were trained on: where the shop was
closed, or a version was rejected, no item grows older.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.arrays import Bools, Int32


@dataclass(frozen=True, slots=True)
class Retention:
    """How long items stay that nobody clicks.

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
        """Tell which items leave unless the cycle's blocks show a click on them (I,)."""
        if not self.blocks:
            return np.zeros(len(before.vocabulary), np.bool_)
        is_due = before.idle + self.elapsed >= self.blocks
        is_due[before.exemplars.items - 1] = False
        return is_due

    def idle_after(self, before: State, clicked: Bools) -> Int32:
        """Return for how many blocks nobody has clicked each item after the cycle (I,).

        Parameters
        ----------
        before
            Without the items that left.
        clicked
            Items with a click that was learnt, the new ones behind those known before (I,).
        """
        idle = np.zeros(len(clicked), np.int32)
        idle[: len(before.idle)] = before.idle + self.elapsed
        return np.where(clicked, np.int32(0), idle)


FOREVER = Retention()
"""No item leaves."""
