"""Read every topic that the monitor follows, each record once."""

from __future__ import annotations

import time

import structlog
from confluent_kafka import TopicPartition

from ader_stream.errors import NewerSchemaError
from ader_stream.monitor.counts.counting import CountedLetters, CountedSessions
from ader_stream.monitor.counts.places import SESSIONS, Place
from ader_stream.monitor.counts.state import MonitorState
from ader_stream.monitor.views import TopicViews
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.follower import LogFollower
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.topics.topics import Topics

log = structlog.get_logger(__name__)

GROWTH_SECONDS = 10.0
"""Seconds between two checks for new partitions."""

RECORDS_AT_ONCE = 200
"""Of one `poll`: session batches have up to 128 kB each, and the process must stay a member."""


class Intake:
    """Pass the records of `sessions` and `dead-letters` to the state, all others to the views.

    The topics of the views are compacted: they are read from their first records on.

    Attributes
    ----------
    unreadable
        Topic and partition → why counting has stopped there: only a newer release can read it.
    """

    def __init__(
        self, clients: KafkaClients, topics: Topics, state: MonitorState, views: TopicViews
    ) -> None:
        self._state = state
        self._names = {"sessions": topics.sessions, "dead-letters": topics.dead_letters}
        self.unreadable: dict[tuple[str, int], str] = {}
        handlers = {
            topics.sessions: self._take_session,
            topics.dead_letters: self._take_letter,
            **views.handlers,
        }
        self._follower = LogFollower(clients, handlers, self._note_end, at_once=RECORDS_AT_ONCE)
        self._followed: set[tuple[str, int]] = set()
        self._ended: set[tuple[str, int]] = set()
        self._looks_again_at = 0.0
        for topic in views.handlers:
            self._follower.follow_from_first(topic)

    @property
    def has_caught_up(self) -> bool:
        """Return whether every partition was read to its end at least once."""
        return self._ended >= self._followed

    def poll(self, timeout: float) -> bool:
        """Take what has arrived; wait up to `timeout` seconds for the first record."""
        if time.monotonic() >= self._looks_again_at:
            self.grow()
        return self._follower.poll(timeout)

    def grow(self) -> None:
        """Read the partitions that were added since; `poll` does it now and then."""
        self._looks_again_at = time.monotonic() + GROWTH_SECONDS
        self._state.add_partitions(self._follower.partitions(self._names[SESSIONS]))
        for place in self._state.places:
            self._follow(place)

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()

    def _follow(self, place: Place) -> None:
        where = self._names[place.topic], place.partition
        if where in self._followed:
            return
        lost = place.lost
        start = place.begin_at(self._follower.first_offset(TopicPartition(*where)))
        if place.lost > lost:
            log.warning(
                "records were deleted before they were counted",
                topic=where[0],
                partition=where[1],
                records=place.lost - lost,
            )
        self._followed.add(where)
        self._follower.follow([TopicPartition(*where, start)])

    def _take_session(self, record: Record) -> None:
        self._take(record, self._state.sessions[record.partition()])

    def _take_letter(self, record: Record) -> None:
        self._take(record, self._state.letters[record.partition()])

    def _take(self, record: Record, counted: CountedSessions | CountedLetters) -> None:
        """Count a record; after one that cannot be read here, nothing of its partition."""
        where = record.topic(), record.partition()
        if where in self.unreadable:
            return
        try:
            counted.take(record)
        except NewerSchemaError as error:
            self.unreadable[where] = str(error)
            log.warning(
                "counting stops here", topic=where[0], partition=where[1], reason=str(error)
            )

    def _note_end(self, end: TopicPartition) -> None:
        self._ended.add((end.topic, end.partition))
