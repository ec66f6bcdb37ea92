"""The reader's clock as a bound of event times where the record's own timestamp is none.

A producer that copies the event time into the record's timestamp, or whose clock is wrong, writes
timestamps from the future. Its clicks are bounded by the clock of whoever reads them first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ader_stream.stream.sessions.window import ENDLESS


class ClockBound:
    """What a clock says about event times.

    Parameters
    ----------
    max_ahead
        ms that an event time may lie ahead; 0 for no limit.
    clock
        Seconds since 1970.

    >>> bound = ClockBound(max_ahead=1_000, clock=lambda: 5.0)
    >>> bound.refuses(6_001, written_at=6_001), bound.refuses(6_001, written_at=6_000)
    (True, False)
    """

    def __init__(self, max_ahead: int, clock: Callable[[], float] = time.time) -> None:
        self._max_ahead = max_ahead
        self._clock = clock

    def now(self) -> int:
        """What the clock says, ms."""
        return int(self._clock() * 1000)

    def limit(self) -> int:
        """The latest time (ms) that is believed now."""
        return self.now() + self._max_ahead if self._max_ahead else ENDLESS

    def refuses(self, time: int, written_at: int | None) -> bool:
        """Whether both an event time (ms) and its record's timestamp lie ahead of the clock."""
        limit = self.limit()
        return time > limit and (written_at is None or written_at > limit)
