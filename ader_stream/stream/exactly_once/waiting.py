"""Pause partitions whose next record is not readable yet."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import Consumer, TopicPartition

from ader_stream.errors import NotYetError

log = structlog.get_logger(__name__)

LOGGED_SECONDS = 1.0
"""A shorter wait is not logged."""


class WaitingPartitions:
    """Pause a partition until its record may be tried again.

    The consumer still polls meanwhile: it stays a member of its group, its other partitions are
    processed, and the paused one can be revoked.

    Parameters
    ----------
    consumer
        Is assigned the partitions.
    topic
        Topic of the partitions.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self, consumer: Consumer, topic: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._clock = clock
        self._until: dict[int, float] = {}
        self._since: dict[int, float] = {}
        self._logged: set[int] = set()

    def __contains__(self, partition: int) -> bool:
        return partition in self._until

    def __len__(self) -> int:
        """Return the number of partitions that wait, or are being tried again."""
        return len(self._since)

    def wait(self, partition: int, error: NotYetError) -> None:
        """Pause a partition for as long as the error says."""
        self._consumer.pause([TopicPartition(self._topic, partition)])
        self._until[partition] = self._clock() + error.retry_after
        since = self._since.setdefault(partition, self._clock())
        if partition not in self._logged and self._until[partition] - since >= LOGGED_SECONDS:
            self._logged.add(partition)
            log.warning("partition waits", partition=partition, offset=error.offset, why=str(error))

    def due(self) -> list[int]:
        """Return the partitions that may be tried again."""
        now = self._clock()
        return [partition for partition, until in self._until.items() if until <= now]

    def resume(self, partition: int, next_offset: int) -> None:
        """Continue at an offset; what was fetched before the pause is dropped."""
        del self._until[partition]
        where = TopicPartition(self._topic, partition, next_offset)
        self._consumer.resume([where])
        self._consumer.seek(where)

    def passed(self, partition: int) -> None:
        """Take note that all fetched records of a partition were readable."""
        if partition in self._since and partition not in self._until:
            waited = self._clock() - self._since.pop(partition)
            if partition in self._logged:
                self._logged.remove(partition)
                log.info("partition continues", partition=partition, waited_seconds=waited)

    def release(self, partition: int) -> None:
        """Drop a partition and resume it: its next owner finds it unpaused."""
        if self._until.pop(partition, None) is not None:
            self._consumer.resume([TopicPartition(self._topic, partition)])
        self._since.pop(partition, None)
        self._logged.discard(partition)
