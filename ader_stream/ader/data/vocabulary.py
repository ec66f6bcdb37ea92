"""The vocabulary: item ids and their dense indices.

Index 0 is padding; items have 1, 2, 3 … in order of first appearance. New items get the next
indices, and where items leave, those after them move up: the order stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ader_stream.ader.data.arrays import Bools, Int32
from ader_stream.ader.data.string_table import StringTable

PADDING = 0

NO_ITEMS = StringTable.of(())


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The items that a model knows.

    Parameters
    ----------
    items
        Item ids; the item at position p has index p + 1.

    Examples
    --------
    >>> vocabulary = Vocabulary().extended([("shoe", "hat"), ("hat", "sock")])
    >>> list(vocabulary.items)
    ['shoe', 'hat', 'sock']
    >>> vocabulary.encode(["hat", "never seen", "shoe"])
    [2, 1]
    """

    items: StringTable = NO_ITEMS

    @classmethod
    def of(cls, items: Iterable[str]) -> Vocabulary:
        """Return a vocabulary of these items; raises ValueError for a duplicate."""
        return cls(StringTable.of(items))

    def __len__(self) -> int:
        return len(self.items)

    def index(self, item: str) -> int | None:
        """Return the item's dense index, or None where the item is unknown."""
        row = self.items.row(item)
        return None if row is None else row + 1

    def item(self, index: int) -> str:
        """Return the item at a dense index, 1 … len; raises IndexError outside of it."""
        if not 1 <= index <= len(self.items):
            raise IndexError(f"index {index} is not in 1 … {len(self.items)}")
        return self.items[index - 1]

    def encode(self, items: Iterable[str]) -> list[int]:
        """Return the known items' dense indices, in order; unknown ones are dropped."""
        return [row + 1 for row in map(self.items.row, items) if row is not None]

    def clicked(self, sessions: Iterable[Sequence[str]]) -> Bools:
        """Return which items any session has (I,)."""
        clicked = np.zeros(len(self), np.bool_)
        for session in sessions:
            clicked[[index - 1 for index in self.encode(session)]] = True
        return clicked

    def keep(self, kept: Bools) -> Vocabulary:
        """Return a vocabulary without the other items (I,): the rest keeps its order."""
        return self if kept.all() else Vocabulary(self.items.keep(kept))

    def extended(self, sessions: Iterable[Sequence[str]], min_item_count: int = 1) -> Vocabulary:
        """Append a block's new items after the old ones.

        Parameters
        ----------
        sessions
            The block's sessions in their final order: first appearance there gives the index.
        min_item_count
            An item joins once it was clicked this often within the block.
        """
        counts = Counter(item for session in sessions for item in session)
        # A Counter keeps the order of first appearance.
        often = (item for item, count in counts.items() if count >= min_item_count)
        new = StringTable.of(item for item in often if self.items.row(item) is None)
        return Vocabulary(self.items.extended(new)) if len(new) else self


def renumbered(kept: Bools) -> Int32:
    """Return the new index of each index once only some items (I,) stay; padding for the others.

    >>> renumbered(np.array([True, False, True])).tolist()
    [0, 1, 0, 2]
    """
    places = np.where(kept, np.cumsum(kept), PADDING)
    return np.concatenate([[PADDING], places]).astype(np.int32)
