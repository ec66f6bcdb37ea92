"""Show how far a reader is behind the end of each partition, in records and in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, cast

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ader_stream import metrics as m
from ader_stream.metrics import Metrics
from ader_stream.stream.kafka.clients import KafkaClients

log = structlog.get_logger(__name__)

ASK_SECONDS = 10.0
"""Seconds between two requests for the newest timestamps: less than usual scrape intervals."""

NEWEST = cast("Any", OffsetSpec).max_timestamp()

NO_TIMESTAMP = -1
"""What a broker answers if no record has one."""


class Unread(NamedTuple):
    """Describe what a reader has not read of a partition.

    Parameters
    ----------
    records
        Number of records.
    last_read
        Timestamp of the last record that was read, ms since 1970; None if it is unknown.
    """

    records: int
    last_read: int | None = None


class LagMetrics:
    """Show the lag of a topic's reader.

    The lag in seconds is the newest timestamp of a partition minus that of the last record that was
    read. Unlike a comparison with the clock, it is also right where old records are replayed.
    Timestamps are requested with `ListOffsets`, and never waited for.

    Parameters
    ----------
    clock, wall_clock
        Monotonic seconds; seconds since 1970.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topic: str,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._topic = topic
        self._metrics = metrics
        self._clock = clock
        self._wall_clock = wall_clock
        self._admin: AdminClient | None = None  # answers come only while it is alive
        self._asked: dict[int, Future[Any]] = {}
        self._asks_at = clock()
        self._newest: dict[int, int] = {}
        self._failure = ""

    def show(self, unread: Mapping[int, Unread]) -> None:
        """Set the gauges of partitions; no lag in seconds where a timestamp is unknown."""
        self._take_answers()
        if unread and self._clock() >= self._asks_at:
            self._asks_at = self._clock() + ASK_SECONDS
            self._ask(unread)
        for partition, (records, last_read) in unread.items():
            self._metrics[m.LAG].labels(partition=partition).set(records)
            seconds = self._seconds(partition, last_read) if records else 0.0
            if seconds is not None:
                self._metrics[m.LAG_SECONDS].labels(partition=partition).set(seconds)

    def _seconds(self, partition: int, last_read: int | None) -> float | None:
        newest = self._newest.get(partition, NO_TIMESTAMP)
        if newest == NO_TIMESTAMP or last_read is None:
            return None
        # A record may claim to be of the future; the reader would seem to stay behind it.
        credible = min(newest, int(self._wall_clock() * 1000))
        return max(0, credible - last_read) / 1000

    def _ask(self, partitions: Collection[int]) -> None:
        self._admin = self._admin or self._clients.admin()
        answers = self._admin.list_offsets(
            {TopicPartition(self._topic, partition): NEWEST for partition in partitions}
        )
        self._asked = {place.partition: answer for place, answer in answers.items()}

    def _take_answers(self) -> None:
        done = {p: answer for p, answer in self._asked.items() if answer.done()}
        for partition, answer in done.items():
            del self._asked[partition]
            try:
                self._newest[partition] = answer.result().timestamp
            except KafkaException as exception:
                self._note_failure(exception.args[0].str())

    def _note_failure(self, failure: str) -> None:
        """Log a failure, once: it may be that of every request to an old broker."""
        if failure != self._failure:
            log.warning("the newest timestamps are unknown", topic=self._topic, error=failure)
        self._failure = failure
