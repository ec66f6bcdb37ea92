"""Reading a partition up to its end: how state comes back from the topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ader_stream.errors import AderError, NameInUseError, OffsetError, TopicError
from ader_stream.stream.kafka.clients import READ_AHEAD_KIB, READ_MESSAGES, KafkaClients, close
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.rights import Right, refused

BATCH_SECONDS = 0.02
"""`consume` waits this long for a full batch: restoring a short log must not wait longer."""

REQUEST_TIMEOUT = 30.0
"""Seconds that one request to the broker may take."""

_PASSES_WITHIN = {
    KafkaError.LEADER_NOT_AVAILABLE: REQUEST_TIMEOUT,
    KafkaError.NOT_LEADER_FOR_PARTITION: REQUEST_TIMEOUT,
    KafkaError._UNKNOWN_PARTITION: 15.0,  # noqa: SLF001 - or there is none
}
"""Seconds for which a partition may say so: when it is new, when its leader has changed, when its
broker has just begun."""


_DEAD_CLIENT = (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)  # noqa: SLF001
"""What a client says before it falls silent for good."""

_NAME_IN_USE = tuple(
    KafkaError(code).str()
    for code in (KafkaError.UNRELEASED_INSTANCE_ID, KafkaError.FENCED_INSTANCE_ID)
)
"""What it says besides where its name is taken: there need not be a code for it."""


def read_to_end(
    clients: KafkaClients, topic: str, partition: int = 0, start: int | None = None
) -> Iterator[Record]:
    """Yield the committed records of a partition, from `start` (or its beginning) to its end.

    The end is taken *read uncommitted* first: what a committed reader sees as the end can lag
    behind the last commit, and state restored from there would miss it. The caller must have
    fenced the writer before, or an open transaction of its holds the reader up until it is
    aborted.

    Raises
    ------
    OffsetError
        If the log no longer holds `start`.
    """
    first, end = offset_range(clients, topic, partition)
    if start is not None and start < first:
        raise OffsetError(
            f"{topic}/{partition} begins at offset {first}, but {start} is needed; "
            "its retention is too short"
        )
    yield from read_range(clients, topic, partition, first if start is None else start, end)


def read_all_to_end(
    clients: KafkaClients,
    topic: str,
    partitions: Collection[int],
    between: Callable[[], None] = lambda: None,
) -> Iterator[Record]:
    """Yield the committed records of several partitions, as `read_to_end` does, by one client.

    Those of one partition come in order, but between those of others. `between` is called before
    each batch of records; what it raises goes through.

    Raises
    ------
    TopicError
        If nothing comes for two minutes.
    """
    ranges = offset_ranges(clients, topic, partitions)
    places = {p: (first, end) for p, (first, end) in ranges.items() if first < end}
    if not places:
        return
    reader = clients.reader()
    try:
        reader.assign([TopicPartition(topic, p, first) for p, (first, _) in places.items()])
        ends = {p: end for p, (_, end) in places.items()}
        yield from _records_below(reader, ends, READ_MESSAGES, between)
    finally:
        reader.close()


def read_range(
    clients: KafkaClients,
    topic: str,
    partition: int,
    start: int,
    end: int,
    at_once: int = READ_MESSAGES,
    ahead_kib: int = READ_AHEAD_KIB,
) -> Iterator[Record]:
    """Yield the committed records of a partition with `start` <= offset < `end`.

    `at_once` bounds the records that are held at a time, `ahead_kib` what is fetched before.

    Raises
    ------
    OffsetError
        If the log no longer holds `start`.
    TopicError
        If nothing comes for two minutes.
    """
    if start >= end:
        return
    reader = clients.reader(ahead_kib=ahead_kib)
    try:
        reader.assign([TopicPartition(topic, partition, start)])
        yield from _records_below(reader, {partition: end}, at_once)
    finally:
        close(reader)


def offset_range(clients: KafkaClients, topic: str, partition: int) -> tuple[int, int]:
    """First offset of a partition, and the one after its last record, committed or not."""
    return offset_ranges(clients, topic, [partition])[partition]


def offset_ranges(
    clients: KafkaClients, topic: str, partitions: Iterable[int]
) -> dict[int, tuple[int, int]]:
    """Partition → its `offset_range`."""
    reader = clients.reader(committed=False)
    try:
        return {p: ask_offset_range(reader, TopicPartition(topic, p)) for p in partitions}
    finally:
        close(reader)


def partitions_with_records(
    clients: KafkaClients, topic: str, partitions: Iterable[int]
) -> set[int]:
    """Return the partitions of which a committed record can be read."""
    ranges = offset_ranges(clients, topic, partitions)
    return {
        partition
        for partition, (first, end) in ranges.items()
        if next(read_range(clients, topic, partition, first, end), None) is not None
    }


def valid_records(
    records: Sequence[Message], group: str = "", tolerated: Collection[int] = ()
) -> Sequence[Record]:
    """Return records; raise for errors that do not pass with time, leave out the others.

    Parameters
    ----------
    group
        Whose member has read them; empty for a reader, which needs no group.
    tolerated
        Codes of errors that the caller deals with.

    Raises
    ------
    AuthorizationError
        If the topic may not be read, or the group not be joined.
    OffsetError, TopicError
        If an offset or the topic is gone.
    NameInUseError
        If the group has another member of this one's name, be it dead or alive.
    AderError
        If the client can do nothing more: another has joined the group in its name.
    """
    failed = [record for record in records if record.error() is not None]
    for record in failed:
        error = cast("KafkaError", record.error())
        if error.code() not in tolerated:
            _raise_if_final(error, record.topic(), group)
    if failed:
        records = [record for record in records if record.error() is None]
    return cast("Sequence[Record]", records)


def ask_offset_range(reader: Consumer, where: TopicPartition) -> tuple[int, int]:
    """Ask for the same by a client that is there; it counts what the client may read."""
    began_at = time.monotonic()
    while True:
        try:
            first, end = reader.get_watermark_offsets(where, timeout=REQUEST_TIMEOUT)
        except KafkaException as exception:
            error = exception.args[0]
            if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise refused(Right("Topic", where.topic, ("Describe",))) from None
            if time.monotonic() - began_at > _PASSES_WITHIN.get(error.code(), 0.0):
                raise TopicError(
                    f"cannot read {where.topic}/{where.partition}: {error.str()}"
                ) from None
            time.sleep(BATCH_SECONDS)
        else:
            return first, end


def _raise_if_final(error: KafkaError, topic: str | None, group: str = "") -> None:
    if error.code() in _DEAD_CLIENT:
        is_name = any(reason in error.str() for reason in _NAME_IN_USE)
        kind = NameInUseError if is_name else AderError
        raise kind(
            f"{error.str()}; expected that no other worker joins with this one's "
            "group.instance.id (kafka.librdkafka): give each its own, or let this one end"
        )
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own name
        raise OffsetError(
            f"{topic}: the offset to read from is gone ({error.str()}); the topic's retention is "
            "shorter than this reader's delay, or the topic was deleted and created again"
        )
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):  # noqa: SLF001
        raise TopicError(
            f"{topic}: no such topic; `ader-stream topics create` makes ours, and with "
            "--with-clicks that of the clicks"
        )
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise refused(Right("Topic", topic or "", ("Read",)))
    if group and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        raise refused(Right("Group", group, ("Read",)))


def _records_below(
    reader: Consumer,
    ends: Mapping[int, int],
    at_once: int,
    between: Callable[[], None] = lambda: None,
) -> Iterator[Record]:
    """Yield until the reader is at the end of each partition of a topic.

    Markers and aborted records count as passed.
    """
    left = dict(ends)
    waiting_since = time.monotonic()
    while left:
        between()
        for record in reader.consume(at_once, BATCH_SECONDS):
            waiting_since = time.monotonic()
            error, at = record.error(), record.offset() or 0
            partition = cast("int", record.partition())
            end = left.get(partition, -1)  # nothing is wanted of what is done
            if error is None:
                if at < end:
                    yield cast("Record", record)
                is_done = at >= end - 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                is_done = at >= end
            else:
                _raise_if_final(error, record.topic())
                continue
            if is_done:
                left.pop(partition, None)
        if time.monotonic() - waiting_since > 4 * REQUEST_TIMEOUT:
            raise TopicError(
                f"no record or end of log for {4 * REQUEST_TIMEOUT:g} s; is a broker down, or a "
                "transaction open?"
            )
