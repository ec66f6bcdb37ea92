"""When the next commit is due."""

from __future__ import annotations

import time
from collections.abc import Callable

BEHIND_FACTOR = 10
"""A worker that is behind commits so much less often: a commit writes what is open, and it costs
less to write a session when it has closed than each time that it has grown."""


class CommitPace:
    """Commits come an interval apart, and further apart while there is more to be read.

    Whether a worker is behind is asked when a commit is due, not when one is done: what has
    gathered during a commit is not what the worker fails to keep up with. Once it has caught up,
    the commit that was put off comes at once.

    Parameters
    ----------
    interval
        ms from a commit to the next.
    most_left
        Records that may be left to be read where a worker is not behind.
    clock
        Seconds.
    """

    def __init__(
        self, interval: int, most_left: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = interval / 1000
        self._most_left = most_left
        self._clock = clock
        self._committed_at = clock()

    def seconds_to_next(self) -> float:
        """Seconds until a commit is due, if the worker is not behind then; negative after that."""
        return self._committed_at + self._interval - self._clock()

    def is_due(self, left: int) -> bool:
        """Whether to commit now, with so many records `left` to be read."""
        waited = self._clock() - self._committed_at
        is_behind = left > self._most_left
        return waited >= self._interval * (BEHIND_FACTOR if is_behind else 1)

    def note_commit(self) -> None:
        """A commit is done."""
        self._committed_at = self._clock()
