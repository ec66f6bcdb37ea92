"""Clicks by item: exact for few items, in constant memory for many."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from datasketches import frequent_strings_sketch

MAX_ITEMS = 2**16
"""Items that are counted exactly: at 120 bytes each about 8 MB."""

LG_HEAD = 15
"""The sketch of frequent items has 2**15 places: it counts every item exactly enough that has more
than 3.5 / 2**15 = 0.01 % of the clicks (its documented error), in at most 2 MB plus the ids."""

HASHES = 2**32


class ItemCounts:
    """Clicks by item, of one block or several.

    Up to `max_items` items every count is exact. Beyond that, two sketches are kept:

    - the *head*, DataSketches' frequent items (Anderson et al. 2017, "A high-performance algorithm
      for identifying frequent items in data streams"), and
    - a *sample* of the items: those whose hash is below 2**-level of all hashes, with exact counts.
      The level rises until at most `max_items` are left (Flajolet 1990, "On adaptive sampling").
      It depends on the set of items alone, so merging in any order gives the same sample.

    Parameters
    ----------
    max_items
        Items in memory, at least 1.
    """

    def __init__(self, max_items: int = MAX_ITEMS) -> None:
        self.max_items = max_items
        self.clicks = 0
        self.level = 0
        self.sample: Counter[str] = Counter()
        self.head: frequent_strings_sketch | None = None

    @property
    def is_exact(self) -> bool:
        """Return whether every item is counted."""
        return self.level == 0

    @property
    def distinct(self) -> int:
        """Return the number of items; an estimate if they are sampled."""
        return len(self.sample) << self.level

    def update(self, items: Iterable[str]) -> None:
        """Count a click for each item id."""
        if self.is_exact:
            self.sample.update(items)
            self.clicks = self.sample.total()
            self._fit()
        else:
            self._add(Counter(items))

    def merge(self, other: ItemCounts) -> None:
        """Add the counts of another one, which stays as it is."""
        if other.is_exact:
            self._add(other.sample)
            return
        self._raise_to(other.level)
        assert self.head is not None
        assert other.head is not None
        self.head.merge(other.head)
        self.clicks += other.clicks
        self._keep(other.sample)

    def weights(self) -> dict[str, float]:
        """Return item → clicks; their sum is `clicks`.

        Where items are sampled: the estimates of the head, and the sampled items outside it, with
        weights that stand for all items outside it.
        """
        if self.head is None:
            return dict(self.sample)
        head = _frequent(self.head)
        tail = {item: count for item, count in self.sample.items() if item not in head}
        rest = max(0.0, self.clicks - sum(head.values()))
        scale = rest / (sum(tail.values()) or 1)
        return head | {item: count * scale for item, count in tail.items()}

    def share(self, is_in: Callable[[str], bool]) -> float:
        """Return the share of clicks on items for which `is_in` is true; 0 without clicks."""
        weights = self.weights()
        total = sum(weights.values()) or 1
        return sum(weight for item, weight in weights.items() if is_in(item)) / total

    def _add(self, counts: Mapping[str, int]) -> None:
        if self.head is not None:
            for item, count in counts.items():
                self.head.update(item, count)
        self.clicks += sum(counts.values())
        self._keep(counts)

    def _keep(self, counts: Mapping[str, int]) -> None:
        bound = HASHES >> self.level
        self.sample.update(
            counts
            if self.is_exact
            else {item: count for item, count in counts.items() if hash_of(item) < bound}
        )
        self._fit()

    def _fit(self) -> None:
        while len(self.sample) > self.max_items:
            self._raise_to(self.level + 1)

    def _raise_to(self, level: int) -> None:
        """Sample items at this level or the present one, whichever is higher."""
        if self.head is None:
            self.head = frequent_strings_sketch(LG_HEAD)
            for item, count in sorted(self.sample.items()):
                self.head.update(item, count)
        self.level = max(level, self.level)
        bound = HASHES >> self.level
        self.sample = Counter(
            {item: count for item, count in self.sample.items() if hash_of(item) < bound}
        )


def hash_of(item: str) -> int:
    """Return an item's hash in [0, `HASHES`); the same in every process."""
    mixed = zlib.crc32(item.encode(errors="surrogatepass")) * 0x9E3779B97F4A7C15
    return mixed >> 32 & HASHES - 1


def _frequent(sketch: frequent_strings_sketch) -> dict[str, float]:
    """Return item → estimated clicks of the items that are certainly frequent."""
    from datasketches import frequent_items_error_type as error  # noqa: PLC0415

    rows = sketch.get_frequent_items(error.NO_FALSE_POSITIVES)
    return {item: float(estimate) for item, estimate, _, _ in rows}
