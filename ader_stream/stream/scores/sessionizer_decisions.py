"""Follow the decisions of the sessionizer that are not in the log.

Only the sessionizer knows that a partition was idle, and how its clock judged a click's time; an
operator may have moved a watermark. All of that is logged in `sessions`. A click that arrives after
a pause, or that is ahead of the clock, therefore waits until the sessionizer has passed it: only
then is every decision before it known.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from ader_stream.errors import DecodeError, NotYetError
from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.follower import LogFollower
from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.rights import Right, refused
from ader_stream.stream.sessions.clock_bound import ClockBound
from ader_stream.stream.sessions.outputs import ClockRefusal, IdleAdvance, WatermarkReset
from ader_stream.stream.sessions.window import ENDLESS
from ader_stream.stream.topics.topics import Topics

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.1
"""Seconds until a waiting click is tried again: the sessionizer commits every 200 ms."""

REQUEST_SECONDS = 5.0
"""Time-out of the request: other partitions wait meanwhile."""

PATIENCE_SECONDS = 15.0
"""Seconds that a click waits: by then the sessionizer's work before it is committed or aborted
(`kafka.transaction_timeout` is 10 s), and it would read this click before it is idle again."""


Decision = IdleAdvance | ClockRefusal | WatermarkReset
"""A decision that the log of a partition does not determine."""

DECISIONS: dict[str, type[Decision]] = {
    kind.__name__: kind for kind in (IdleAdvance, ClockRefusal, WatermarkReset)
}


class LoggedDecision(NamedTuple):
    """A decision, and its offset in the sessions topic."""

    decision: Decision
    offset: int


@dataclass
class _Followed:
    """Hold what is known of one partition.

    Parameters
    ----------
    read_to
        Offset of the sessions topic below which everything was read.
    known_until
        Offset of the clicks topic: every decision before a click below it is known.
    passed
        Offset up to which the sessionizer had committed, when that was beyond the waiting click,
        and the end of the sessions topic then.
    last_at, last_timestamp
        Time (s) at which the last click passed, and the timestamp (ms) of its record.
    waits_for, waits_since
        Offset of the waiting click, and since when (s).
    given_up_at
        Offset of the sessionizer when a click had waited for `PATIENCE_SECONDS`.
    """

    read_to: int
    new: deque[LoggedDecision] = field(default_factory=deque)
    known_until: int = -1
    passed: tuple[int, int] | None = None
    last_at: float | None = None
    last_timestamp: int = 0
    waits_for: int = -1
    waits_since: float = 0.0
    given_up_at: int | None = None


class SessionizerDecisions:
    """Read the decisions of the partitions that are assigned to a worker.

    Parameters
    ----------
    pause
        ms without a click after which the next one waits for the sessionizer: less than its idle
        time-out. None: it never considers a partition idle.
    max_ahead
        ms that the sessionizer lets a record's timestamp be ahead of its clock; 0: no limit.
    committed
        Returns the offset up to which the sessionizer has committed a partition of the clicks
        topic, negative before its first commit. May raise `KafkaException`.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        pause: int | None,
        max_ahead: int,
        committed: Callable[[int], int],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._topic = topics.sessions
        self._pause = ENDLESS if pause is None else pause
        self._bound = ClockBound(max_ahead // 2, wall_clock)  # clocks of two hosts differ
        self._committed = committed
        self._clock = clock
        self._follower = LogFollower(clients, {self._topic: self._take}, self._note_end)
        self._followed: dict[int, _Followed] = {}

    def follow(self, partition: int, start: int) -> None:
        """Follow a partition from an offset of the sessions topic on, or from its first."""
        self.keep(self._followed.keys() - {partition})
        first = self._follower.first_offset(TopicPartition(self._topic, partition))
        start = max(first, start)
        self._followed[partition] = _Followed(start)
        self._follower.follow([TopicPartition(self._topic, partition, start)])

    def keep(self, partitions: Collection[int]) -> None:
        """Stop following all other partitions."""
        gone = self._followed.keys() - partitions
        for partition in gone:
            del self._followed[partition]
        if gone:
            self._follower.leave([TopicPartition(self._topic, p) for p in gone])

    def take(self, partition: int) -> tuple[list[LoggedDecision], int]:
        """Return the decisions since the last call, and the offset below which all are known."""
        self._follower.poll()
        followed = self._followed[partition]
        new = [*followed.new]
        followed.new.clear()
        return new, followed.read_to

    def check_readable(self, batch: Sequence[Record]) -> None:
        """Check that every decision before these clicks of one partition is known.

        Raises
        ------
        NotYetError
            With the offset of the first click for which that is not certain yet.
        """
        followed = self._followed[batch[0].partition()]
        for record in batch:
            offset = record.offset()
            if self._may_be_decided_upon(record, followed) and offset >= followed.known_until:
                self._wait_for_sessionizer(record.partition(), offset, followed)
            followed.last_timestamp = record.timestamp()[1]
            followed.last_at = self._clock()

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()

    def _may_be_decided_upon(self, record: Record, followed: _Followed) -> bool:
        """Return whether the sessionizer may have logged a decision at this record."""
        written_at = record.timestamp()[1]
        return written_at > self._bound.limit() or self._comes_after_a_pause(record, followed)

    def _comes_after_a_pause(self, record: Record, followed: _Followed) -> bool:
        """Return whether a click follows a pause: by the clock if new, by timestamps if old."""
        if self._pause == ENDLESS:
            return False
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
            "continuing without the sessionizer; does it run?", partition=partition, offset=offset
        )

    def _has_been_passed(self, partition: int, offset: int, followed: _Followed) -> bool:
        """Return whether the sessionizer has passed a click and its decisions before are known."""
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
        self._follower.poll()
        committed, end = followed.passed
        if followed.read_to >= end:
            followed.known_until = committed
        return followed.read_to >= end

    def _has_given_up(self, committed: int, followed: _Followed) -> bool:
        """Return whether a click waited too long, and the sessionizer has not advanced since."""
        if self._clock() - followed.waits_since >= PATIENCE_SECONDS:
            followed.given_up_at = committed
        return committed == followed.given_up_at

    def _take(self, record: Record) -> None:
        followed = self._followed[record.partition()]
        followed.read_to = max(followed.read_to, record.offset() + 1)
        if decision := _decision_in(record):
            followed.new.append(LoggedDecision(decision, record.offset()))

    def _note_end(self, end: TopicPartition) -> None:
        followed = self._followed[end.partition]
        followed.read_to = max(followed.read_to, end.offset)


def place_of_sessionizer(clients: KafkaClients, topics: Topics) -> Callable[[int], int]:
    """Return a function: partition → the offset that the sessionizer has committed.

    It does not join the group: the right to describe it is enough.
    """
    admin, group = clients.admin(), topics.group("sessionizer")

    def committed(partition: int) -> int:
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topics.clicks, partition)])
        requests = admin.list_consumer_group_offsets([asked], request_timeout=REQUEST_SECONDS)
        try:
            [place] = requests[group].result().topic_partitions
        except KafkaException as exception:
            if exception.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                raise refused(Right("Group", group, ("Describe",))) from None
            raise
        if place.error:
            raise KafkaException(place.error)
        return int(place.offset)

    return committed


def _decision_in(record: Record) -> Decision | None:
    """Return the decision in a record; None for other types, which are not decoded."""
    headers = record.headers()
    kind = DECISIONS.get(type_of(headers))
    if kind is None:
        return None
    try:
        _, value = decode(record.value(), headers)
    except DecodeError as error:
        log.warning("a decision that cannot be read is skipped", reason=str(error))
        return None
    return kind(**{name: value[name] for name in kind._fields})
