"""Input of the diagnosis: a system's settings, its cluster, and a sample of its clicks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from ader_stream.errors import AderError
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.clicks.sampled_times import readable
from ader_stream.stream.control.rules_log import blocks_in_force
from ader_stream.stream.diagnosis.checking import Once
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import offset_ranges
from ader_stream.stream.kafka.sampling import SampledRecord, sample_records
from ader_stream.stream.operations.offsets import worker_places
from ader_stream.stream.sessions.task import SessionizerRules
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT, Topics, partition_counts
from ader_stream.types import BlockRule

SAMPLE = 2_000
"""Records of each partition in the sample, the newest ones."""

SAMPLE_OF_ALL = 50_000
"""Records of all partitions: with many partitions, the sample has fewer of each."""

FEWEST = 100
"""Fewest records of a partition, for any number of partitions."""


@dataclass(frozen=True)
class Sample:
    """The newest clicks of every partition.

    Parameters
    ----------
    ranges
        Partition → first offset of its log, and the one after its last record.
    records
        By partition and offset.
    unread
        Sampled records that wait for a schema that is not available now.
    """

    ranges: Mapping[int, tuple[int, int]]
    records: list[SampledRecord]
    unread: int = 0

    @cached_property
    def by_partition(self) -> dict[int, list[SampledRecord]]:
        """Return partition → its records, also for partitions without one."""
        found: dict[int, list[SampledRecord]] = {partition: [] for partition in self.ranges}
        for record in self.records:
            found[record.partition()].append(record)
        return found

    @property
    def is_whole(self) -> bool:
        """Return whether these are all records of the logs."""
        return all(
            not of_log or (of_log[0].offset() <= self.ranges[partition][0])
            for partition, of_log in self.by_partition.items()
        )


class DiagnosisInput:
    """Input of the checks; each part is read once, when a check first needs it.

    Parameters
    ----------
    clients, topics
        Of the system.
    format, rules
        How clicks are decoded, and the rules of the sessionizer.
    idle
        ms after which a silent partition follows the others; None: never.
    checks_times
        Whether workers refuse implausible event times.
    clock
        Returns seconds since 1970.
    start
        ``earliest`` or ``latest``: where reading starts without a committed offset.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        format: ClickFormat,  # noqa: A002 - the field's own word
        rules: SessionizerRules,
        idle: int | None = None,
        checks_times: bool = True,
        clock: Callable[[], float] = time.time,
        start: str = "earliest",
    ) -> None:
        self.clients, self.topics, self.format, self.rules = clients, topics, format, rules
        self.idle, self.checks_times, self.clock, self.start = idle, checks_times, clock, start
        self.admin: Once[AdminClient] = Once(clients.admin)
        self.partition_counts = Once(lambda: partition_counts(self.admin()))
        self.clicks_config = Once(lambda: self._config(ResourceType.TOPIC, topics.clicks))
        self.broker_config = Once(self._broker_config)
        self.decoder = Once(lambda: ClickDecoder(format))
        self.sample = Once(self._sample)
        self.worker_places = Once(lambda: [*worker_places(clients, topics)])
        self.blocks: Once[BlockRule] = Once(lambda: blocks_in_force(clients, topics, rules.blocks))

    @property
    def now(self) -> int:
        """Return the time of the clock, ms."""
        return int(self.clock() * 1000)

    @property
    def records(self) -> list[SampledRecord]:
        """Return the sampled records; none if sampling failed, which another check reports."""
        try:
            return self.sample().records
        except (AderError, KafkaException):
            return []

    @property
    def rules_in_force(self) -> SessionizerRules:
        """Return the rules with the logged changes of blocks, if they can be read."""
        try:
            return replace(self.rules, blocks=self.blocks())
        except (AderError, KafkaException):  # another check reports why
            return self.rules

    @property
    def partitions(self) -> int:
        """Return the number of partitions of the clicks topic; 0 if it does not exist."""
        return self.partition_counts().get(self.topics.clicks, 0)

    def _sample(self) -> Sample:
        topic, partitions = self.topics.clicks, self.partitions
        ranges = offset_ranges(self.clients, topic, range(partitions)) if partitions else {}
        count = max(FEWEST, min(SAMPLE, SAMPLE_OF_ALL // max(1, partitions)))
        spans = {p: (max(first, end - count), end) for p, (first, end) in ranges.items()}
        records = sample_records(self.clients, topic, spans)
        usable = list(readable(records, self.decoder()))
        return Sample(ranges, usable, len(records) - len(usable))

    def _broker_config(self) -> dict[str, str]:
        broker = next(iter(self.admin().list_topics(timeout=ADMIN_TIMEOUT).brokers))
        return self._config(ResourceType.BROKER, str(broker))

    def _config(self, kind: ResourceType, name: str) -> dict[str, str]:
        [future] = self.admin().describe_configs([ConfigResource(kind, name)]).values()
        entries = future.result(ADMIN_TIMEOUT)
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}
