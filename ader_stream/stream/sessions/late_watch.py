"""Notices when late clicks are the rule: event time then stands still, and sessions with it."""

from __future__ import annotations

FEWEST = 1_000
"""Clicks among which late ones are counted at first; ten times as many after each notice."""


class LateWatch:
    """Counts the late clicks of one partition.

    >>> watch = LateWatch()
    >>> [watch.has_most_late(clicks, late) for clicks, late in [(900, 900), (100, 0), (9_999, 0)]]
    [False, True, False]
    """

    def __init__(self) -> None:
        self._among = FEWEST
        self._is_over = False
        self.clicks = 0
        self.late = 0

    def has_most_late(self, clicks: int, late: int) -> bool:
        """Add clicks, and how many of them were late; say whether it is time to say something."""
        if self._is_over:
            self.clicks = self.late = 0
        self.clicks += clicks
        self.late += late
        self._is_over = self.clicks >= self._among
        if not self._is_over:
            return False
        is_most = 2 * self.late > self.clicks
        self._among = 10 * self._among if is_most else FEWEST
        return is_most
