"""The items of the simulated shop: their categories, when they are sold, and related items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ader_stream.errors import SettingsError

# fmt: off
CATEGORIES = (
    "boots", "lamps", "scarves", "pans", "novels", "kites",
    "chairs", "skis", "teapots", "drills", "rugs", "gloves",
    "vases", "puzzles", "bikes", "shirts", "mugs", "sledges",
    "clocks", "ropes", "belts", "grills", "pillows", "tents",
    "coats", "knives", "globes", "rackets", "bowls", "swimsuits",
)
# fmt: on

SEASONS = 3
"""A seasonal category is in season in one of this many blocks."""

COMPANIONS = 12
"""Number of companions of an item."""


@dataclass(frozen=True, slots=True)
class ShopSize:
    """How large the simulated shop is.

    Parameters
    ----------
    blocks
        Blocks to simulate.
    sessions
        Visits in a block.
    items
        Items over all blocks; at least two for each of the 30 categories.

    Raises
    ------
    SettingsError
        A number is too small.
    """

    blocks: int = 6
    sessions: int = 3_000
    items: int = 1_500

    def __post_init__(self) -> None:
        least = {"blocks": 1, "sessions": 1, "items": 2 * len(CATEGORIES)}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise SettingsError(
                    f"simulated shop: {name} = {getattr(self, name)}; use {smallest} or more"
                )


@dataclass(frozen=True, slots=True)
class Aisles:
    """Probabilities of the shop in one block, ready for sampling.

    Parameters
    ----------
    shelves
        Cumulative sum of the items' appeal, with a leading 0, (I + 1,).
    companions
        Items that are often clicked with an item, (I, C).
    pull
        Cumulative sum of the companions' appeal, (I, C).
    category_ends
        Items [first, end) of the category that an item belongs to, (I, 2).
    """

    shelves: NDArray[np.float64]
    companions: NDArray[np.int64]
    pull: NDArray[np.float64]
    category_ends: NDArray[np.int64]


class Catalogue:
    """Items that appear, fade and return.

    Every fifth category is seasonal: absent out of season, and unchanged when it returns. In other
    categories, half of the items stay from the first block on; the others appear in a later block
    with their highest appeal, which then decays.

    Parameters
    ----------
    size
        Of the shop.
    seed
        Not negative.
    """

    def __init__(self, size: ShopSize, seed: int) -> None:
        rng = np.random.default_rng(seed)
        item = np.arange(size.items)
        category = item * len(CATEGORIES) // size.items
        first, end = (np.searchsorted(category, category, side) for side in ("left", "right"))
        self.names = [
            f"{CATEGORIES[c]}-{i:03}" for c, i in zip(category, item - first, strict=True)
        ]
        self._category_ends = np.stack([first, end], axis=1)
        self._companions = _companions(self._category_ends, rng)
        self._strength = rng.dirichlet(np.ones(COMPANIONS), size.items)
        self._appeal = rng.lognormal(0, 0.8, size.items)
        self._season = np.where(category % 5 == 4, category // 5 % SEASONS, -1)
        self._half_life, self._appears = _lives(size, self._season >= 0, rng)

    def aisles(self, block: int, rng: np.random.Generator) -> Aisles:
        """Return the shop in a block; noise from `rng` changes every item's appeal a little."""
        fashion = rng.lognormal(0, 0.25, len(self.names))
        appeal = self._appeal * self._presence(block) * fashion
        # The square root makes relatedness count more than popularity.
        pull = np.cumsum(self._strength * np.sqrt(appeal[self._companions]), axis=1)
        shelves = np.concatenate([[0.0], np.cumsum(appeal)])
        return Aisles(shelves, self._companions, pull, self._category_ends)

    def _presence(self, block: int) -> NDArray[np.float64]:
        """Return the presence of every item, between 0 (absent) and 1, (I,)."""
        age = block - self._appears
        faded = 0.5 ** (np.maximum(age, 0) / self._half_life)
        is_there = (age >= 0) & ((self._season < 0) | (self._season == block % SEASONS))
        return np.where(is_there, faded, 0.0)


def _companions(category_ends: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the companions of every item: items of its category, drawn once, (I, C)."""
    first, end = category_ends[:, :1], category_ends[:, 1:]
    return rng.integers(first, end, size=(len(category_ends), COMPANIONS))


def _lives(
    size: ShopSize, is_seasonal: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return half-life in blocks and first block of every item; half of them stay for ever."""
    lasts = is_seasonal | (rng.random(size.items) < 0.5)
    half_life = np.where(lasts, np.inf, rng.uniform(0.7, 2.5, size.items))
    appears = np.where(lasts, 0, rng.integers(size.blocks, size=size.items))
    return half_life, appears
