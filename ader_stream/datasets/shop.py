"""A simulated shop: the demo's data set if the user has none.

Its clicks are simulated; whatever shows them must say so.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ader_stream.datasets.dataset import Block
from ader_stream.datasets.shop_catalogue import Catalogue, ShopSize
from ader_stream.datasets.shop_visits import visit
from ader_stream.errors import SettingsError
from ader_stream.types import MINUTE_MS, SECOND_MS, BlockRule, Click

MAX_CLICKS = 30
"""Maximum clicks of a visit."""

MEAN_CLICKS = 5.0
"""Mean clicks of a visit, as recorded in web shops; a fifth of the visits have one click."""

MEAN_PAUSE_MS = 40 * SECOND_MS
MAX_PAUSE_MS = 10 * MINUTE_MS


class SimulatedShop:
    """Simulated visits that follow an item-to-item structure, in a shop that changes.

    Block k depends only on the seed, the size and k. A visit is inside its block, and its clicks
    are less than the gap apart.

    Parameters
    ----------
    rule
        Where block k starts and ends.
    gap
        Session gap, ms.
    size
        How large the shop is.
    seed
        Not negative.

    Raises
    ------
    SettingsError
        Block or gap is too short for a visit.

    >>> shop = SimulatedShop(BlockRule(0, 10_000_000), gap=1_800_000, size=ShopSize(sessions=2))
    >>> number, clicks = next(shop.blocks())
    >>> number, clicks == sorted(clicks, key=lambda click: click.time)
    (0, True)
    """

    name = "Simulated shop"
    simulated = True
    fingerprint = None

    def __init__(
        self, rule: BlockRule, gap: int, size: ShopSize | None = None, seed: int = 0
    ) -> None:
        self._rule = rule
        self._size = size or ShopSize()
        self._seed = seed
        self._longest_pause = min(MAX_PAUSE_MS, gap - 1, (rule.length - 1) // MAX_CLICKS)
        if self._longest_pause < 1:
            raise SettingsError(
                f"sessions.gap = {gap} ms, blocks.length = {rule.length} ms: the simulated shop "
                f"needs a gap of at least 2ms and blocks of at least {MAX_CLICKS + 1}ms"
            )

    def blocks(self) -> Iterator[Block]:
        """Simulate block after block."""
        catalogue = Catalogue(self._size, self._seed)
        for number in range(self._size.blocks):
            yield Block(number, self._simulate(catalogue, number))

    def _simulate(self, catalogue: Catalogue, number: int) -> list[Click]:
        rng = np.random.default_rng([self._seed, number])
        aisles = catalogue.aisles(number, rng)
        start = self._rule.start(number)
        clicks: list[Click] = []
        for session in range(self._size.sessions):
            length = min(int(rng.geometric(1 / MEAN_CLICKS)), MAX_CLICKS)
            key = f"visit-{number}-{session:05}"
            items = visit(aisles, length, rng)
            times = self._times(length, rng)
            clicks += [
                Click(key, catalogue.names[item], start + time)
                for item, time in zip(items, times, strict=True)
            ]
        return sorted(clicks, key=lambda click: click.time)  # stable: a visit keeps its order

    def _times(self, length: int, rng: np.random.Generator) -> list[int]:
        """Return times (ms) of a visit's clicks, relative to the block's start."""
        mean = min(MEAN_PAUSE_MS, self._longest_pause / 2)
        pauses = np.minimum(rng.exponential(mean, length - 1), self._longest_pause).astype(int)
        offsets = np.concatenate([[0], np.cumsum(pauses)])
        first = rng.integers(self._rule.length - int(offsets[-1]))
        return [int(first + offset) for offset in offsets]
