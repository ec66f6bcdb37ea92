"""Whether what a worker has done gets committed, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable

PROMPT_SECONDS = 10.0
"""What a commit takes at the most, if all is well: the default of a transaction's time-out."""


class CommitHealth:
    """Knows the last commit, and since when none has succeeded though one was due.

    Written by the worker's loop, read by the threads that answer HTTP.

    Parameters
    ----------
    prompt
        Seconds that a commit takes at the most, if all is well.
    on_failure
        Called with the name of the error of each commit that has failed.
    clock, wall_clock
        Seconds, ever rising; seconds since 1970.

    Attributes
    ----------
    last_commit
        When something was committed, seconds since 1970; 0 before the first time.
    obstacle
        Why what is due could not be committed; empty if nothing is known.
    """

    def __init__(
        self,
        prompt: float = PROMPT_SECONDS,
        on_failure: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.last_commit = 0.0
        self._prompt = prompt
        self._on_failure = on_failure
        self._clock = clock
        self._wall_clock = wall_clock
        self.obstacle = ""
        self._due_since: float | None = None

    def note_due(self) -> None:
        """Something is about to be committed."""
        if self._due_since is None:
            self._due_since = self._clock()

    def note_failure(self, error: str, reason: str) -> None:
        """It could not be committed, because of an error of this name."""
        self.note_obstacle(reason)
        self._on_failure(error)

    def note_obstacle(self, reason: str) -> None:
        """It cannot be committed for now; `reason` is for who asks why the worker is not ready."""
        self.note_due()
        self.obstacle = reason

    def note_commit(self) -> None:
        """All that was due is committed."""
        self.last_commit = self._wall_clock()
        self.note_nothing_due()

    def note_nothing_due(self) -> None:
        """Nothing is left to be committed."""
        self._due_since, self.obstacle = None, ""

    @property
    def waiting_seconds(self) -> float:
        """Seconds since the first try to commit what is not committed yet; 0 if all of it is."""
        since = self._due_since
        return 0.0 if since is None else self._clock() - since

    def not_ready(self) -> str:
        """Say why the last commit did not happen; empty if it did."""
        if self.obstacle:
            return f"cannot commit: {self.obstacle}"
        waiting = self.waiting_seconds
        return f"a commit has taken {waiting:.0f} s so far" if waiting > self._prompt else ""

    def not_healthy(self, limit: float) -> str:
        """Say what has not been committed for more than `limit` seconds; empty if all is."""
        if (waiting := self.waiting_seconds) <= limit:
            return ""
        return f"nothing could be committed for {waiting:.0f} s: {self.obstacle or 'no answer'}"
