"""Check whether the records in our topics can be read here, and with which schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ader_stream.errors import DecodeError
from ader_stream.stream.avro.codec import (
    CHUNK_TYPE,
    FORMAT_HEADER,
    SCHEMA_HEADER,
    TYPE_HEADER,
    decode,
    fingerprint_of,
)
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import offset_range, read_range
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.topics.topics import Topics, check_topics


@dataclass
class SchemaUse:
    """Records of one topic that were written with one schema.

    Parameters
    ----------
    topic
        Name of the topic.
    type, schema
        Type and fingerprint in the records' headers.
    state
        ``current``, ``older`` (read as today's type) or ``unreadable``.
    records
        Number of checked records.
    problem
        Error of the first one that cannot be read.
    """

    topic: str
    type: str
    schema: str
    state: str
    records: int = 0
    problem: str = ""


def check_schemas(clients: KafkaClients, topics: Topics, sample: int | None) -> Iterator[SchemaUse]:
    """Read our topics and yield the schemas of their records, topic by topic.

    Parameters
    ----------
    sample
        Records at each end of each partition, for the oldest and the newest writer; None for all.
    """
    partitions = check_topics(clients.admin(), topics)
    for topic, count, _ in topics.specifications(partitions):
        if topic not in (topics.clicks, topics.model_chunks):
            yield from _check_topic(clients, topic, count, sample)


def _check_topic(
    clients: KafkaClients, topic: str, partitions: int, sample: int | None
) -> Iterator[SchemaUse]:
    found: dict[tuple[str, str, str], SchemaUse] = {}
    for partition in range(partitions):
        for record in _sampled(clients, topic, partition, sample):
            use = _use_of(topic, record)
            if use is not None:
                known = found.setdefault((use.type, use.schema, use.state), use)
                known.records += 1
    yield from found.values()


def _sampled(
    clients: KafkaClients, topic: str, partition: int, sample: int | None
) -> Iterator[Record]:
    first, end = offset_range(clients, topic, partition)
    if sample is None or end - first <= 2 * sample:
        yield from read_range(clients, topic, partition, first, end)
    else:
        yield from read_range(clients, topic, partition, first, first + sample)
        yield from read_range(clients, topic, partition, end - sample, end)


def _use_of(topic: str, record: Record) -> SchemaUse | None:
    """Return the schema of a record; None for a tombstone or a chunk, which have none."""
    named = dict(record.headers() or ())
    if record.value() is None or named.get(TYPE_HEADER) == CHUNK_TYPE:
        return None
    type_name, schema = (
        (named.get(name) or b"").decode(errors="replace") for name in (TYPE_HEADER, SCHEMA_HEADER)
    )
    if FORMAT_HEADER in named:  # written for others, with no schema of ours in its headers
        format_name = (named[FORMAT_HEADER] or b"").decode(errors="replace")
        return SchemaUse(topic, type_name, format_name, "current")
    try:
        decode(record.value(), record.headers())
    except DecodeError as error:
        where = f"partition {record.partition()}, offset {record.offset()}"
        return SchemaUse(topic, type_name, schema, "unreadable", problem=f"{where}: {error}")
    is_current = schema.encode() == fingerprint_of(type_name)
    return SchemaUse(topic, type_name, schema, "current" if is_current else "older")
