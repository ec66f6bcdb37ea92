"""When to look for objects that hold one another and that nobody else holds."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

COLLECT_SECONDS = 600.0
"""A look walks every object that can hold others: over a second for a million open sessions."""


class CycleCollector:
    """Looks for cycles at set times, where Python would after so many new objects.

    For a process that holds millions of objects, makes new ones at each record and hardly ever a
    cycle: after so many objects, the looks take a fifth of its time. What no cycle holds is given
    back at once as ever.

    Parameters
    ----------
    clock
        Seconds, ever rising.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        gc.disable()
        self._clock = clock
        self._due = clock() + COLLECT_SECONDS

    def collect_if_due(self) -> None:
        """Look for cycles, if it is time to."""
        if self._clock() >= self._due:
            gc.collect()
            self._due = self._clock() + COLLECT_SECONDS
