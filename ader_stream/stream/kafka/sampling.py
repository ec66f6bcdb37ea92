"""A few records of many partitions at once, to look at before anything is done with them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.reading import offset_ranges, valid_records
from ader_stream.stream.kafka.records import Record, headers_of

SILENT_SECONDS = 10.0
"""A reader of a sample waits so long for the next record, then takes what there is."""

POLL_SECONDS = 0.1

AT_ONCE = 1_000

AHEAD_KIB = 8 * 1024
"""What the client fetches before it is asked for."""

MAX_BYTES = 64 * 2**20
"""No more than this is held: records may be large."""


@dataclass(frozen=True, slots=True)
class SampledRecord:
    """A copy of a record, which can be looked at as often as is wanted. Implements `Record`.

    Headers can be asked of the original only once: see `headers_of`.
    """

    fields: tuple[str, int, int, bytes | None, bytes | None, tuple[int, int]]
    own_headers: list[tuple[str, bytes]]

    @classmethod
    def of(cls, record: Record) -> SampledRecord:
        """Copy a record."""
        fields = (
            record.topic(),
            record.partition(),
            record.offset(),
            record.key(),
            record.value(),
            record.timestamp(),
        )
        return cls(fields, headers_of(record))

    def topic(self) -> str:
        """Name of the topic."""
        return self.fields[0]

    def partition(self) -> int:
        """Partition."""
        return self.fields[1]

    def offset(self) -> int:
        """Offset."""
        return self.fields[2]

    def key(self) -> bytes | None:
        """Key."""
        return self.fields[3]

    def value(self) -> bytes | None:
        """Value."""
        return self.fields[4]

    def timestamp(self) -> tuple[int, int]:
        """Kind of timestamp, and ms since 1970."""
        return self.fields[5]

    def headers(self) -> list[tuple[str, bytes]]:
        """Headers."""
        return self.own_headers

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key() or b"") + len(self.value() or b"")


def sample_records(
    clients: KafkaClients, topic: str, spans: Mapping[int, tuple[int, int]]
) -> list[SampledRecord]:
    """Read committed records of many partitions, by partition and offset.

    Fewer than asked for come back where the log is silent for `SILENT_SECONDS`, as behind an open
    transaction, and beyond `MAX_BYTES`.

    Parameters
    ----------
    spans
        Partition → its first offset to read and the one after the last. The log must hold the
        first.

    Raises
    ------
    OffsetError, TopicError
        If an offset or the topic is gone, or may not be read.
    """
    ends = {partition: end for partition, (start, end) in spans.items() if start < end}
    if not ends:
        return []
    reader = clients.reader(ahead_kib=AHEAD_KIB)
    try:
        reader.assign([TopicPartition(topic, p, spans[p][0]) for p in ends])
        records = _read(reader, topic, ends)
    finally:
        close(reader)
    return sorted(records, key=lambda record: (record.partition(), record.offset()))


def sample_newest(
    clients: KafkaClients, topic: str, partitions: int, records: int
) -> list[SampledRecord]:
    """Read about so many of the newest records of a topic, equally many of each partition.

    Raises
    ------
    OffsetError, TopicError
        As `sample_records`.
    """
    ranges = offset_ranges(clients, topic, range(partitions))
    count = -(-records // max(1, partitions))
    return sample_records(
        clients, topic, {p: (max(first, end - count), end) for p, (first, end) in ranges.items()}
    )


def _read(reader: Consumer, topic: str, ends: dict[int, int]) -> list[SampledRecord]:
    """Read until every partition is read to its end, or to the log's."""
    found: list[SampledRecord] = []
    size, silent_since = 0, time.monotonic()
    while ends and size < MAX_BYTES and time.monotonic() - silent_since < SILENT_SECONDS:
        messages = reader.consume(AT_ONCE, POLL_SECONDS)
        if messages:
            silent_since = time.monotonic()
        wanted = (r for r in valid_records(messages) if r.offset() < ends.get(r.partition(), 0))
        new = list(map(SampledRecord.of, wanted))
        found += new
        size += sum(record.size for record in new)
        passed = {cast("int", m.partition()) for m in messages if _is_passed(m, ends)}
        reader.incremental_unassign([TopicPartition(topic, p) for p in passed & ends.keys()])
        for partition in passed & ends.keys():
            del ends[partition]
    return found


def _is_passed(message: Message, ends: Mapping[int, int]) -> bool:
    """Whether nothing that is wanted comes after a message of a partition."""
    if error := message.error():
        return error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own name
    last = ends.get(cast("int", message.partition()), 0) - 1
    return cast("int", message.offset()) >= last
