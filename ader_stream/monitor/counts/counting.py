"""Count the records of one partition, in the order of its log.

What is counted is a function of the partition's records alone: not of when, in how many fetches, or
by how many processes one after another they were read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.item_counts import MAX_ITEMS
from ader_stream.errors import DecodeError, InputError, NewerSchemaError
from ader_stream.monitor.counts.places import Place
from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.kafka.records import Record
from ader_stream.types import DEAD_LETTER_REASONS

log = structlog.get_logger(__name__)

BLOCK, SLICE = "block", "slice"
"""Spans of event time: a block, and an equal part of the sliding time."""

SLICES = 6
"""Parts of the sliding time. One more is kept: the newest one is not full."""

CLICKS = "clicks"
"""Name of the count of clicks in sessions."""

NOT_COUNTED = frozenset({"IdleAdvance", "ClockRefusal", "RulesChange", "Gap"})
"""Types of `sessions` in which there is nothing to count."""

OTHER = "other"
"""Reason of a refused click that this release does not know."""


class Span(NamedTuple):
    """A span of event time: `BLOCK` or `SLICE`, and its number."""

    kind: str
    number: int


@dataclass(frozen=True)
class CountingRule:
    """What is kept of a partition.

    Parameters
    ----------
    blocks
        Newest blocks.
    sliding
        Event time of the newest slices together, ms.
    max_items
        Items that are counted exactly in each span.
    """

    blocks: int
    sliding: int
    max_items: int = MAX_ITEMS

    @property
    def slice_length(self) -> int:
        """Return the event time in a slice, ms."""
        return self.sliding // SLICES


@dataclass
class SpanCounts:
    """What is counted in a span; the late clicks of a block only."""

    statistics: BlockStatistics
    late: int = 0


class _SessionView(NamedTuple):
    """The columns of a session that are counted."""

    key: str
    items: Sequence[str]
    times: Sequence[int]


class CountedSessions:
    """Counts of one partition of `sessions`, by block and by slice of the last event time.

    A slice holds the sessions whose last click is in it.

    Attributes
    ----------
    spans
        The newest blocks and slices.
    changed
        Spans that have changed, or were removed, since they were written.
    """

    def __init__(self, place: Place, rule: CountingRule) -> None:
        self.place = place
        self.spans: dict[Span, SpanCounts] = {}
        self.changed: set[Span] = set()
        self._rule = rule
        self._counts: Mapping[str, Callable[[Mapping[str, Any], Record], None]] = {
            "SessionBatch": self._count_batch,
            "BlockEnd": self._count_end,
            "WatermarkReset": self._count_reset,
        }

    def take(self, record: Record) -> None:
        """Count a record; log one that cannot be counted.

        Raises
        ------
        NewerSchemaError
            If only a newer release can read it: nothing was counted.
        """
        kind = type_of(record.headers())
        if count := self._counts.get(kind):
            with _skipping_damaged(self.place, record):
                count(decode(record.value(), record.headers())[1], record)
        elif kind not in NOT_COUNTED:
            skip(self.place, record, f"type {kind!r} is unknown here")
        self.place.pass_record(record)

    def numbers(self, kind: str) -> list[int]:
        """Return the numbers of the kept spans of a kind, in order."""
        return sorted(span.number for span in self.spans if span.kind == kind)

    def evict_old(self) -> None:
        """Remove all blocks and slices but the newest ones."""
        for kind, kept in ((BLOCK, self._rule.blocks), (SLICE, SLICES + 1)):
            for number in self.numbers(kind)[:-kept]:
                self.evict(Span(kind, number))

    def evict(self, span: Span) -> None:
        """Remove a span."""
        del self.spans[span]
        self.changed.add(span)

    def _count_batch(self, batch: Mapping[str, Any], record: Record) -> None:
        sessions = [_SessionView(s["key"], s["items"], s["times"]) for s in batch["sessions"]]
        block = self._span(Span(BLOCK, batch["block"]))
        clicks = block.statistics.clicks
        block.statistics.add_sessions(sessions)
        block.late += sum(len(session["carried"]) for session in batch["sessions"])
        self._count_slices(sessions)
        self.place.hourly.add(
            max(0, record.timestamp()[1]), CLICKS, block.statistics.clicks - clicks
        )
        self.evict_old()

    def _count_slices(self, sessions: Sequence[_SessionView]) -> None:
        by_slice = defaultdict[int, list[_SessionView]](list)
        for session in sessions:
            by_slice[session.times[-1] // self._rule.slice_length].append(session)
            self.place.reach(session.times[-1])
        newest = max([*by_slice, *self.numbers(SLICE)], default=0)
        for number in sorted(by_slice):
            if number > newest - SLICES - 1:
                self._span(Span(SLICE, number)).statistics.add_sessions(by_slice[number])

    def _count_end(self, end: Mapping[str, Any], _: Record) -> None:
        self.place.ended_block = end["block"]

    def _count_reset(self, reset: Mapping[str, Any], _: Record) -> None:
        self.place.ended_block = reset["open_block"] - 1
        self.place.reached = None  # the event times before were wrong

    def _span(self, span: Span) -> SpanCounts:
        """Return the counts of a span, which is going to change."""
        self.changed.add(span)
        if span not in self.spans:
            self.spans[span] = SpanCounts(BlockStatistics(self._rule.max_items))
        return self.spans[span]


@dataclass
class CountedLetters:
    """Counts of one partition of `dead-letters`: refused clicks by reason."""

    place: Place

    def take(self, record: Record) -> None:
        """Count a record; raises as `CountedSessions.take` does."""
        kind = type_of(record.headers())
        if kind == "DeadLetter":
            with _skipping_damaged(self.place, record):
                reason = decode(record.value(), record.headers())[1]["reason"]
                known = reason if reason in DEAD_LETTER_REASONS else OTHER
                self.place.hourly.add(max(0, record.timestamp()[1]), known, 1)
        elif kind != "Replayed":
            skip(self.place, record, f"type {kind!r} is unknown here")
        self.place.pass_record(record)


@contextmanager
def _skipping_damaged(place: Place, record: Record) -> Iterator[None]:
    """Skip a record that cannot be decoded or counted, unless a newer release can read it."""
    try:
        yield
    except NewerSchemaError:
        raise
    except (DecodeError, InputError) as error:
        skip(place, record, str(error))


def skip(place: Place, record: Record, reason: str) -> None:
    """Log and count a record that cannot be counted."""
    place.skipped += 1
    log.warning(
        "record skipped",
        topic=record.topic(),
        partition=record.partition(),
        offset=record.offset(),
        reason=reason,
    )
