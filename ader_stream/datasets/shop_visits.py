"""A visit to the simulated shop: a walk from item to item."""

from __future__ import annotations

import numpy as np

from ader_stream.datasets.shop_catalogue import Aisles

COMPANION_OF_LAST = 0.4
"""Probability that a click is on a companion of the item before."""

COMPANION_OF_EARLIER = 0.15
"""Probability of a companion of any item so far: more than the last click matters."""

SEEN_AGAIN = 0.1
"""Probability of an item of this visit again."""

SAME_CATEGORY = 0.2
"""Probability of any item of the same category; the rest is for any item."""


def visit(aisles: Aisles, length: int, rng: np.random.Generator) -> list[int]:
    """Return the `length` items of a visit, in order."""
    items = [_anything(aisles, rng)]
    while len(items) < length:
        items.append(_next(aisles, items, rng))
    return items


def _next(aisles: Aisles, items: list[int], rng: np.random.Generator) -> int:
    chance = rng.random()
    if (chance := chance - COMPANION_OF_LAST) < 0:
        return _companion(aisles, items[-1], rng)
    earlier = items[int(rng.integers(len(items)))]
    if (chance := chance - COMPANION_OF_EARLIER) < 0:
        return _companion(aisles, earlier, rng)
    if (chance := chance - SEEN_AGAIN) < 0:
        return earlier
    if chance < SAME_CATEGORY:
        return _of_category(aisles, items[-1], rng)
    return _anything(aisles, rng)


def _companion(aisles: Aisles, item: int, rng: np.random.Generator) -> int:
    """Draw one of the item's companions by their pull; if none is present, one of its category."""
    pull = aisles.pull[item]
    if not pull[-1]:
        return _of_category(aisles, item, rng)
    choice = np.searchsorted(pull, rng.random() * pull[-1], side="right")
    return int(aisles.companions[item, choice])


def _of_category(aisles: Aisles, item: int, rng: np.random.Generator) -> int:
    first, end = aisles.category_ends[item]
    return _draw(aisles, first, end, rng)


def _anything(aisles: Aisles, rng: np.random.Generator) -> int:
    return _draw(aisles, 0, len(aisles.companions), rng)


def _draw(aisles: Aisles, first: int, end: int, rng: np.random.Generator) -> int:
    """Draw one of the items [first, end) by their appeal; some of them must be present."""
    low, high = aisles.shelves[first], aisles.shelves[end]
    point = low + rng.random() * (high - low)
    return int(np.searchsorted(aisles.shelves, point, side="right")) - 1
