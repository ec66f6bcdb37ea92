"""Detect that a rare event, such as a late click, is frequent: a clock or a unit is wrong."""

from __future__ import annotations


class ShareWatch:
    """Counts the clicks of one partition, and the rare ones among them.

    Parameters
    ----------
    fewest
        Number of clicks before the first decision; ten times as many after each report.

    >>> watch = ShareWatch(1_000)
    >>> [watch.are_most(clicks, rare) for clicks, rare in [(900, 900), (100, 0), (9_999, 0)]]
    [False, True, False]
    """

    def __init__(self, fewest: int) -> None:
        self._fewest = self._among = fewest
        self._is_over = False
        self.clicks = 0
        self.rare = 0

    def are_most(self, clicks: int, rare: int) -> bool:
        """Add clicks and the number of rare ones; return whether to report that most were rare."""
        if self._is_over:
            self.clicks = self.rare = 0
        self.clicks += clicks
        self.rare += rare
        self._is_over = self.clicks >= self._among
        if not self._is_over:
            return False
        is_most = 2 * self.rare > self.clicks
        self._among = 10 * self._among if is_most else self._fewest
        return is_most
