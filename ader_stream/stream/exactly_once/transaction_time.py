"""Adapt the transaction time-out of each partition."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)

MOST_MS = 240_000
"""The group removes a member that does not poll for five minutes (`max.poll.interval.ms`)."""

SLOW = 0.9
"""A transaction that fails after this share of its time-out has failed for lack of time."""


class TransactionTime:
    """Double a partition's transaction time-out after a transaction that was too slow.

    A transaction cannot be made smaller: at the end of a block it holds every session that was
    open. Quotas, links and disks may slow a producer down. With the same time-out the same
    transaction would fail again, forever.

    Parameters
    ----------
    first
        First time-out in ms, the setting.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._most = max(first, MOST_MS)
        self._of: dict[int, int] = {}

    def of(self, partition: int) -> int:
        """Return the transaction time-out of a partition, in ms."""
        return min(self._of.get(partition, self._first), self._most)

    def note_failure(self, partition: int, seconds: float) -> None:
        """Take note that a transaction has failed so many seconds after it was begun."""
        before = self.of(partition)
        if seconds * 1000 < SLOW * before:
            return
        self._of[partition] = min(2 * before, self._most)
        log.warning(
            "transactions take too long; a quota, a slow link or a slow broker?",
            partition=partition,
            transaction_timeout_ms=before,
            next_ms=self.of(partition),
        )

    def note_refusal(self, partition: int) -> bool:
        """Take note that the broker refuses the time-out; return whether a shorter one is left."""
        refused = self.of(partition)
        self._most = max(self._first, refused // 2)
        return self.of(partition) < refused
