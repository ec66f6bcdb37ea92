"""Track whether the work of a worker is committed, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable

PROMPT_SECONDS = 10.0
"""The longest that a healthy commit takes: the default of a transaction's time-out."""


class CommitHealth:
    """Hold the time of the last commit, and since when a due commit has not succeeded.

    Written by the worker's loop, read by the threads of the HTTP server.

    Parameters
    ----------
    prompt
        Seconds that a healthy commit takes at most.
    on_failure
        Called with the name of the error of each failed commit.
    clock, wall_clock
        Monotonic seconds; seconds since 1970.
    on_abort
        Called with the name of the error of each aborted transaction.

    Attributes
    ----------
    last_commit
        Time of the last commit, seconds since 1970; 0 before the first.
    obstacle
        Why the due commit has failed; empty if no reason is known.
    """

    def __init__(
        self,
        prompt: float = PROMPT_SECONDS,
        on_failure: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        on_abort: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.last_commit = 0.0
        self._prompt = prompt
        self._on_failure = on_failure
        self._on_abort = on_abort
        self._clock = clock
        self._wall_clock = wall_clock
        self.obstacle = ""
        self._due_since: float | None = None

    def note_due(self) -> None:
        """Take note that a commit is due."""
        if self._due_since is None:
            self._due_since = self._clock()

    def note_failure(self, error: str, reason: str) -> None:
        """Take note that the due commit has failed with an error of this name."""
        self.note_obstacle(reason)
        self._on_failure(error)

    def note_abort(self, error: str) -> None:
        """Take note that a transaction is aborted because of an error of this name."""
        self._on_abort(error)

    def note_obstacle(self, reason: str) -> None:
        """Take note that no commit is possible now; the readiness check shows `reason`."""
        self.note_due()
        self.obstacle = reason

    def note_commit(self) -> None:
        """Take note that the due commit has succeeded."""
        self.last_commit = self._wall_clock()
        self.note_nothing_due()

    def note_nothing_due(self) -> None:
        """Take note that no commit is due."""
        self._due_since, self.obstacle = None, ""

    @property
    def waiting_seconds(self) -> float:
        """Return the seconds since the first try of the due commit; 0 if none is due."""
        since = self._due_since
        return 0.0 if since is None else self._clock() - since

    def not_ready(self) -> str:
        """Return why the last commit has not happened; empty if it has."""
        if self.obstacle:
            return f"cannot commit: {self.obstacle}"
        waiting = self.waiting_seconds
        return f"a commit has taken {waiting:.0f} s so far" if waiting > self._prompt else ""

    def not_healthy(self, limit: float) -> str:
        """Return the reason if a commit is due for more than `limit` seconds; else empty."""
        if (waiting := self.waiting_seconds) <= limit:
            return ""
        return f"nothing could be committed for {waiting:.0f} s: {self.obstacle or 'no answer'}"
