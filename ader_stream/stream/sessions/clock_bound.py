"""Bound event times by the reader's clock where the record's own timestamp is no bound.

A producer that copies the event time into the record's timestamp, or that has a wrong clock, writes
timestamps in the future. Its clicks are bounded by the clock of their first reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ader_stream.stream.sessions.window import ENDLESS


class ClockBound:
    """Compares event times with a clock.

    Parameters
    ----------
    max_ahead
        ms by which an event time may be ahead; 0 for no limit.
    clock
        Returns seconds since 1970.

    >>> bound = ClockBound(max_ahead=1_000, clock=lambda: 5.0)
    >>> bound.refuses(6_001, written_at=6_001), bound.refuses(6_001, written_at=6_000)
    (True, False)
    """

    def __init__(self, max_ahead: int, clock: Callable[[], float] = time.time) -> None:
        self._max_ahead = max_ahead
        self._clock = clock

    def now(self) -> int:
        """Return the time of the clock, ms."""
        return int(self._clock() * 1000)

    def limit(self) -> int:
        """Return the latest event time (ms) that is accepted now."""
        return self.now() + self._max_ahead if self._max_ahead else ENDLESS

    def refuses(self, time: int, written_at: int | None) -> bool:
        """Return whether an event time (ms) and its record's timestamp are ahead of the limit."""
        limit = self.limit()
        return time > limit and (written_at is None or written_at > limit)
