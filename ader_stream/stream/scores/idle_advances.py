"""What the sessionizer has decided of idle partitions, for those who follow its rules.

It alone sees that a partition has fallen silent, and logs in `sessions` by how far the watermark
has followed the others. A click that comes after a pause therefore waits until the sessionizer has
passed it: only then it is certain that no advance was made before it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from ader_stream.errors import DecodeError, NotYetError
from ader_stream.stream.kafka.changelog import checked, offset_range
from ader_stream.stream.kafka.clients import READ_MESSAGES, KafkaClients
from ader_stream.stream.kafka.codec import decode, type_of
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.tail import TailReader
from ader_stream.stream.kafka.topics import Topics
from ader_stream.stream.sessions.outputs import IdleAdvance

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.1
"""After which a waiting click is tried again: the sessionizer commits every 200 ms."""

REQUEST_SECONDS = 5.0
"""How long the question may take: other partitions wait meanwhile."""

PATIENCE_SECONDS = 15.0
"""How long a click waits: then whatever the sessionizer had done before it is committed or aborted
(`kafka.transaction_timeout` is 10 s), and it would read this click before it falls idle again."""


class LoggedAdvance(NamedTuple):
    """An advance, and its offset in the sessions topic."""

    advance: IdleAdvance
    offset: int


@dataclass
class _Followed:
    """What is known of one partition.

    Parameters
    ----------
    heard_to
        Offset of the sessions topic before which everything was read.
    known_until
        Offset of the clicks topic: every advance before a click below it was heard of.
    passed
        Offset before which the sessionizer had committed, when that was beyond the click that
        waits, and the end of the sessions topic then.
    last_at, last_timestamp
        When a click was let through, s, and its record's timestamp, ms.
    waits_for, waits_since
        Offset of the click that waits, and since when, s.
    given_up_at
        Where the sessionizer stood when a click had waited in vain.
    """

    heard_to: int
    new: deque[LoggedAdvance] = field(default_factory=deque)
    known_until: int = -1
    passed: tuple[int, int] | None = None
    last_at: float | None = None
    last_timestamp: int = 0
    waits_for: int = -1
    waits_since: float = 0.0
    given_up_at: int | None = None


class IdleAdvances:
    """Reads the advances of the partitions that a worker follows.

    Parameters
    ----------
    pause
        ms without a click after which the sessionizer is waited for: less than its idle time-out.
    committed
        Returns the offset up to which the sessionizer has committed a partition of the clicks
        topic, negative before its first commit. May raise `KafkaException`.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        pause: int,
        committed: Callable[[int], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = clients
        self._topic = topics.sessions
        self._pause = pause
        self._committed = committed
        self._clock = clock
        self._reader = TailReader(clients)
        self._followed: dict[int, _Followed] = {}

    def follow(self, partition: int, start: int) -> None:
        """Read a partition's advances from an offset of the sessions topic on, or its first."""
        self.keep(self._followed.keys() - {partition})
        first, _ = offset_range(self._clients, self._topic, partition)
        start = max(first, start)
        self._followed[partition] = _Followed(start)
        self._reader.follow([TopicPartition(self._topic, partition, start)])

    def keep(self, partitions: Collection[int]) -> None:
        """Follow no others any more."""
        gone = self._followed.keys() - partitions
        for partition in gone:
            del self._followed[partition]
        if gone:
            self._reader.leave([TopicPartition(self._topic, p) for p in gone])

    def take(self, partition: int) -> tuple[list[LoggedAdvance], int]:
        """Return what was heard since the last call, and the offset from which to hear more."""
        self._hear()
        followed = self._followed[partition]
        new = [*followed.new]
        followed.new.clear()
        return new, followed.heard_to

    def check_readable(self, batch: Sequence[Record]) -> None:
        """Say whether every advance before these clicks of one partition is known.

        Raises
        ------
        NotYetError
            With the offset of the first click of which that is not certain yet.
        """
        followed = self._followed[batch[0].partition()]
        for record in batch:
            offset = record.offset()
            if self._comes_after_a_pause(record, followed) and offset >= followed.known_until:
                self._wait_for_sessionizer(record.partition(), offset, followed)
            followed.last_timestamp = record.timestamp()[1]
            followed.last_at = self._clock()

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _comes_after_a_pause(self, record: Record, followed: _Followed) -> bool:
        """By the clock where clicks are read as they come, by the log where they lie there."""
        if followed.last_at is None or record.offset() == followed.waits_for:
            return True
        return (
            record.timestamp()[1] - followed.last_timestamp >= self._pause
            or self._clock() - followed.last_at >= self._pause / 1000
        )

    def _wait_for_sessionizer(self, partition: int, offset: int, followed: _Followed) -> None:
        now = self._clock()
        if followed.waits_for != offset:
            followed.waits_for, followed.waits_since = offset, now
        if self._has_been_passed(partition, offset, followed):
            return
        if now - followed.waits_since < PATIENCE_SECONDS:
            error = NotYetError("the sessionizer has not passed this click yet", RETRY_SECONDS)
            error.offset = offset
            raise error
        log.warning(
            "going on without the sessionizer; does it run?", partition=partition, offset=offset
        )

    def _has_been_passed(self, partition: int, offset: int, followed: _Followed) -> bool:
        """Whether the sessionizer has, and all that it had decided by then was heard."""
        try:
            if followed.passed is None or followed.passed[0] <= offset:
                committed = self._committed(partition)
                if committed <= offset:
                    return self._has_given_up(committed, followed)
                _, end = offset_range(self._clients, self._topic, partition)
                followed.passed = committed, end
        except KafkaException as exception:
            log.warning("cannot ask for the sessionizer's place", error=exception.args[0].str())
            return False
        self._hear()
        committed, end = followed.passed
        if followed.heard_to >= end:
            followed.known_until = committed
        return followed.heard_to >= end

    def _has_given_up(self, committed: int, followed: _Followed) -> bool:
        """Whether a click has waited in vain, and the sessionizer has not moved since."""
        if self._clock() - followed.waits_since >= PATIENCE_SECONDS:
            followed.given_up_at = committed
        return committed == followed.given_up_at

    def _hear(self) -> None:
        """Take in what was logged since the last call. Does not wait."""
        messages = self._reader.consume(READ_MESSAGES, 0)
        for record in checked(messages):
            followed = self._followed.get(record.partition())
            if followed is None:  # fetched just before it was given up
                continue
            followed.heard_to = max(followed.heard_to, record.offset() + 1)
            if advance := _advance_in(record):
                followed.new.append(LoggedAdvance(advance, record.offset()))
        for message in messages:
            error = message.error()
            followed = self._followed.get(cast("int", message.partition()))
            if followed and error and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                followed.heard_to = max(followed.heard_to, message.offset() or 0)


def place_of_sessionizer(clients: KafkaClients, topics: Topics) -> Callable[[int], int]:
    """Return what says up to which offset the sessionizer has committed a partition."""
    consumer = clients.group_consumer(topics.group("sessionizer"))  # it asks, and never joins

    def committed(partition: int) -> int:
        where = TopicPartition(topics.clicks, partition)
        [place] = consumer.committed([where], timeout=REQUEST_SECONDS)
        if place.error:
            raise KafkaException(place.error)
        return int(place.offset)

    return committed


def _advance_in(record: Record) -> IdleAdvance | None:
    """Return a record's advance; those of other types are not decoded."""
    headers = record.headers()
    if type_of(headers) != "IdleAdvance":
        return None
    try:
        _, value = decode(record.value(), headers)
    except DecodeError as error:
        log.warning("an advance that cannot be read is passed over", reason=str(error))
        return None
    return IdleAdvance(value["next_offset"], value["watermark"])
