"""Decide when to collect reference cycles."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

COLLECT_SECONDS = 600.0
"""A collection walks every container object: over a second for a million open sessions."""


class GarbageSchedule:
    """Collects reference cycles at fixed intervals; Python would after a number of new objects.

    It is for a process that holds millions of objects, makes new ones for each record and hardly
    ever a cycle. Python's own rule would spend a fifth of its time on collections. Objects without
    cycles are freed at once, as always.

    Parameters
    ----------
    clock
        Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        gc.disable()
        self._clock = clock
        self._due = clock() + COLLECT_SECONDS

    def collect_if_due(self) -> None:
        """Collect cycles, if it is time to."""
        if self._clock() >= self._due:
            gc.collect()
            self._due = self._clock() + COLLECT_SECONDS
