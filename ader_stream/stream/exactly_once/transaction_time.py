"""How long a partition's transactions may take."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)

MOST_MS = 240_000
"""A member that does not ask for records for five minutes is given up (`max.poll.interval.ms`)."""

SLOW = 0.9
"""A transaction that fails after this share of its time has failed for lack of time."""


class TransactionTime:
    """Gives a partition twice the time after a transaction that was too slow.

    A transaction holds what has come together, and where a block ends that is every session that
    was open: it cannot be made smaller. Brokers slow a producer down by its quota, links and disks
    by what they are. With the same time the same transaction would fail again, for ever.

    Parameters
    ----------
    first
        ms that a transaction may take at first, the setting.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._most = max(first, MOST_MS)
        self._of: dict[int, int] = {}

    def of(self, partition: int) -> int:
        """Ms that the partition's transactions may take."""
        return min(self._of.get(partition, self._first), self._most)

    def note_failure(self, partition: int, seconds: float) -> None:
        """A transaction of the partition has failed that long after it was opened."""
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
        """The broker allows no such time; return whether a shorter one is left to try."""
        refused = self.of(partition)
        self._most = max(self._first, refused // 2)
        return self.of(partition) < refused
