"""Everything that the monitor has counted: as records of its changelog, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.monitor.counts.counting import (
    SLICE,
    CountedLetters,
    CountedSessions,
    CountingRule,
    Span,
    SpanCounts,
)
from ader_stream.monitor.counts.places import (
    LETTERS,
    SESSIONS,
    Place,
    place_from_value,
    place_to_value,
)
from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.kafka.producing import Keyed
from ader_stream.stream.kafka.records import Record

log = structlog.get_logger(__name__)

STATISTICS, PLACE = "MonitorStatistics", "MonitorPlace"
"""Types of the changelog's records."""

FRAMING_BYTES = 256
"""Of a record, beside a piece of the statistics."""

Value = dict[str, Any]


class SpanKey(NamedTuple):
    """A span of one partition."""

    partition: int
    span: Span

    def piece(self, number: int) -> str:
        """Return the key of a piece's record."""
        return f"{self.span.kind}/{self.span.number}/{self.partition}/{number}"


class MonitorState:
    """Counts of every partition of `sessions` and `dead-letters`.

    Parameters
    ----------
    rule
        What is kept.
    topic_ids
        Topic without its prefix → Kafka's id of it now. What was counted of a topic that was
        deleted since is dropped.
    room
        Bytes that a record of the changelog may have.
    """

    def __init__(self, rule: CountingRule, topic_ids: Mapping[str, str], room: int) -> None:
        self.rule = rule
        self._topic_ids = topic_ids
        self._piece_bytes = room - FRAMING_BYTES
        self._pieces: dict[SpanKey, int] = {}  # in the changelog
        self._places: dict[tuple[str, int], Value] = {}  # in the changelog
        self._sent: dict[SpanKey, int] = {}  # pieces that `changes` has returned last
        self.sessions: dict[int, CountedSessions] = {}
        self.letters: dict[int, CountedLetters] = {}

    @property
    def places(self) -> list[Place]:
        """Return how far each partition was counted."""
        sessions = [counted.place for counted in self.sessions.values()]
        return [*sessions, *(counted.place for counted in self.letters.values())]

    def add_partitions(self, partitions: Iterable[int]) -> None:
        """Count these partitions, too; those that are not counted yet from their first record."""
        for partition in partitions:
            if partition not in self.sessions:
                self.sessions[partition] = CountedSessions(
                    self._first_place(SESSIONS, partition), self.rule
                )
            if partition not in self.letters:
                self.letters[partition] = CountedLetters(self._first_place(LETTERS, partition))

    # --- to the changelog

    def changes(self) -> list[Keyed]:
        """Return records of everything that has changed since `note_written`."""
        self._sent = {}
        return [*self._changed_statistics(), *self._changed_places()]

    def note_written(self) -> None:
        """Take note that what `changes` has returned last was committed."""
        written = self._pieces | self._sent
        self._pieces = {key: count for key, count in written.items() if count}
        for counted in self.sessions.values():
            counted.changed.clear()
        self._places = {(at.topic, at.partition): place_to_value(at) for at in self.places}

    def _changed_statistics(self) -> Iterator[Keyed]:
        for partition, counted in self.sessions.items():
            for span in sorted(counted.changed):
                yield from self._records_of(SpanKey(partition, span), counted.spans.get(span))

    def _records_of(self, key: SpanKey, counts: SpanCounts | None) -> Iterator[Keyed]:
        """Yield the pieces of a span, and tombstones of those that it no longer has."""
        pieces = self._cut(counts.statistics.to_bytes()) if counts else []
        for number, data in enumerate(pieces):
            value = {
                "partition": key.partition,
                "span": key.span.kind,
                "number": key.span.number,
                "piece": number,
                "pieces": len(pieces),
                "data": data,
                "late": counts.late if counts else 0,
                "length": self._length_of(key.span),
            }
            yield key.piece(number), *encode(STATISTICS, value)
        for number in range(len(pieces), self._pieces.get(key, 0)):
            yield key.piece(number), None, None
        self._sent[key] = len(pieces)

    def _changed_places(self) -> Iterator[Keyed]:
        for place in self.places:
            value = place_to_value(place)
            if value != self._places.get((place.topic, place.partition)):
                yield f"place/{place.topic}/{place.partition}", *encode(PLACE, value)

    def _cut(self, data: bytes) -> list[bytes]:
        size = self._piece_bytes
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _length_of(self, span: Span) -> int:
        return self.rule.slice_length if span.kind == SLICE else 0

    # --- from the changelog

    def restore(self, records: Iterable[Record], between: Callable[[], None]) -> None:
        """Restore the counts from the changelog; call `between` for each record.

        Raises
        ------
        NewerSchemaError
            If a newer monitor has written it: this one must be updated.
        """
        last = dict[bytes | None, tuple[str, Value]]()
        for record in records:
            between()
            last.pop(record.key(), None)
            if record.value() is not None:
                last[record.key()] = decode(record.value(), record.headers())
        self._restore_places(value for kind, value in last.values() if kind == PLACE)
        self._restore_spans(value for kind, value in last.values() if kind == STATISTICS)

    def _restore_places(self, values: Iterable[Value]) -> None:
        for value in values:
            place = place_from_value(value)
            self._places[place.topic, place.partition] = value
            if place.topic_id != self._topic_ids[place.topic]:
                log.warning(
                    "the topic was deleted and created again: it is counted from its first record",
                    topic=place.topic,
                    partition=place.partition,
                )
            elif place.topic == SESSIONS:
                self.sessions[place.partition] = CountedSessions(place, self.rule)
            else:
                self.letters[place.partition] = CountedLetters(place)

    def _restore_spans(self, values: Iterable[Value]) -> None:
        """Restore spans of the partitions that have a place, and mark the others as removed."""
        pieces = defaultdict[SpanKey, list[Value]](list)
        for value in values:
            span = Span(value["span"], value["number"])
            pieces[SpanKey(value["partition"], span)].append(value)
        self._pieces = {key: len(found) for key, found in pieces.items()}
        are_current = set(self.sessions)
        self.add_partitions(key.partition for key in pieces)
        for (partition, span), found in pieces.items():
            counted = self.sessions[partition]
            if partition in are_current and found[0]["length"] == self._length_of(span):
                counted.spans[span] = _joined(found)
            else:
                counted.changed.add(span)
        for counted in self.sessions.values():
            counted.evict_old()

    def _first_place(self, topic: str, partition: int) -> Place:
        return Place(topic, partition, self._topic_ids[topic])


def _joined(pieces: Sequence[Value]) -> SpanCounts:
    """Return the counts of a span from the values of its pieces."""
    in_order = sorted(pieces, key=lambda value: int(value["piece"]))
    data = b"".join(value["data"] for value in in_order)
    return SpanCounts(BlockStatistics.from_bytes(data), in_order[0]["late"])
