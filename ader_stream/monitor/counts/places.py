"""How far a partition of a topic was counted, and the small counts that are kept beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ader_stream.stream.kafka.records import Record
from ader_stream.types import HOUR_MS

HOURS = 24
"""Hours that are kept: ratios are those of the last day."""

SESSIONS, LETTERS = "sessions", "dead-letters"
"""Topics of which every record is counted once, without the prefix."""


class HourlyCounts:
    """Counts by hour of the records' own timestamps, for the newest `HOURS`.

    Timestamps are in the log, so the counts do not depend on when it was read.

    >>> counts = HourlyCounts()
    >>> counts.add(5 * HOUR_MS, "late", 2)
    >>> counts.since(5), counts.since(6)
    (Counter({'late': 2}), Counter())
    """

    def __init__(self, hours: Mapping[int, Mapping[str, int]] | None = None) -> None:
        self.hours = {hour: Counter(counts) for hour, counts in (hours or {}).items()}

    @property
    def newest(self) -> int | None:
        """Return the newest hour since 1970; None without counts."""
        return max(self.hours, default=None)

    def add(self, timestamp: int, name: str, count: int) -> None:
        """Add to the count of a name in the hour of a timestamp, ms."""
        self.hours.setdefault(timestamp // HOUR_MS, Counter())[name] += count
        while len(self.hours) > HOURS:
            del self.hours[min(self.hours)]

    def since(self, first: int) -> Counter[str]:
        """Return the sums from an hour on."""
        return sum((c for hour, c in self.hours.items() if hour >= first), Counter[str]())


@dataclass
class Place:
    """How far one partition was counted: the MonitorPlace of the schema.

    Parameters
    ----------
    topic, partition, topic_id
        Of `SESSIONS` or `LETTERS`, and Kafka's id of it.
    next_offset
        Offset of the next record to count.
    lost, skipped
        Offsets that were deleted before they were counted; records that could not be counted.
    ended_block, reached
        Last ended block, and highest event time, ms; None before the first.
    """

    topic: str
    partition: int
    topic_id: str = ""
    next_offset: int = 0
    lost: int = 0
    skipped: int = 0
    ended_block: int | None = None
    reached: int | None = None
    hourly: HourlyCounts = field(default_factory=HourlyCounts)

    def reach(self, time: int) -> None:
        """Take note of a click's event time, ms."""
        self.reached = time if self.reached is None else max(time, self.reached)

    def pass_record(self, record: Record) -> None:
        """Take note that a record was counted or skipped."""
        self.next_offset = record.offset() + 1

    def begin_at(self, first: int) -> int:
        """Return the offset to read from, if the log begins at `first`.

        What was deleted before it was counted is lost, except before the first record ever.
        """
        if first > self.next_offset:
            self.lost += first - self.next_offset if self.next_offset else 0
            self.next_offset = first
        return self.next_offset


def place_to_value(place: Place) -> dict[str, Any]:
    """Return the value of a place's record."""
    named = vars(place) | {
        "hours": [
            {"hour": hour, "counts": dict(counts)}
            for hour, counts in sorted(place.hourly.hours.items())
        ]
    }
    del named["hourly"]
    return named


def place_from_value(value: Mapping[str, Any]) -> Place:
    """Return the place in the value of a record."""
    fields = dict(value)
    hours = {each["hour"]: each["counts"] for each in fields.pop("hours")}
    return Place(**fields, hourly=HourlyCounts(hours))
