"""Check event times before a worker joins its group."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaException, TopicPartition

from ader_stream.errors import EventTimeError, OffsetError, TopicError
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.clicks.sampled_times import find_problem, readable, remedy_for
from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT, offset_ranges
from ader_stream.stream.kafka.sampling import SampledRecord, sample_records

log = structlog.get_logger(__name__)

SAMPLE = 200
"""Records of a partition in the sample, the next ones and the newest ones."""

SAMPLE_OF_ALL = 10_000
"""Records of all partitions: with many partitions, the sample has fewer of each."""


@dataclass(frozen=True)
class StartCheck:
    """Checks the clicks that a worker is about to read.

    Parameters
    ----------
    clients
        Factory of readers.
    topic, group
        The clicks topic and the worker's group.
    start
        ``earliest`` or ``latest``, where the group has committed nothing.
    decoder, format
        Decode clicks as the settings say.
    """

    clients: KafkaClients
    topic: str
    group: str
    start: str
    decoder: ClickDecoder
    format: ClickFormat

    def require_plausible_times(self, partitions: int) -> None:
        """Refuse to start on event times that cannot be the times of clicks.

        Clicks that cannot be checked are no reason to stop: the worker's own reading will report
        why.

        Raises
        ------
        EventTimeError
            Names the sampled times, and the setting that would fix them.
        """
        try:
            records = self._sample(partitions)
        except (KafkaException, OffsetError, TopicError) as error:
            log.warning("event times not checked", topic=self.topic, reason=str(error))
            return
        checked, now = list(readable(records, self.decoder)), time.time_ns() // 1_000_000
        problem = find_problem(checked, self.decoder, self.format, now)
        if problem is None:
            log.info("event times checked", topic=self.topic, records=len(checked))
        elif problem.level == "warning":
            log.warning("event times look wrong", topic=self.topic, reason=problem.text)
        else:
            remedy = remedy_for(problem, checked, self.format, now)
            raise EventTimeError(
                f"{self.topic}: {problem.text}; {remedy}, or, to take them as they are, "
                "clicks.check_times = false"
            )

    def _sample(self, partitions: int) -> list[SampledRecord]:
        """Read the next and the newest records."""
        count = max(20, min(SAMPLE, SAMPLE_OF_ALL // partitions))
        ranges = offset_ranges(self.clients, self.topic, range(partitions))
        following = self._next_offsets(ranges)
        next_ = {p: (at, min(at + count, ranges[p][1])) for p, at in following.items()}
        newest = {
            p: (max(first, next_[p][1], end - count), end) for p, (first, end) in ranges.items()
        }
        records = [r for s in (next_, newest) for r in sample_records(self.clients, self.topic, s)]
        return sorted(records, key=lambda record: (record.partition(), record.offset()))

    def _next_offsets(self, ranges: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        places = [TopicPartition(self.topic, partition) for partition in ranges]
        consumer = self.clients.group_consumer(self.group)
        try:
            committed = consumer.committed(places, timeout=REQUEST_TIMEOUT)
        finally:
            close(consumer)
        next_offsets = {}
        for place in committed:
            first, end = ranges[place.partition]
            without = first if self.start == "earliest" else end
            next_offsets[place.partition] = (
                max(first, place.offset) if place.offset >= 0 else without
            )
        return next_offsets
