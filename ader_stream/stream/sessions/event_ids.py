"""Remember the last event ids of an input partition, so that a duplicate click counts once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SEGMENT_OFFSETS = 1_000
"""Offsets of the log in one segment: the most that a commit writes again."""


NO_NUMBER = -1
"""Number of no segment."""

SHORT_ID = 40
"""Most characters of an id that is remembered unchanged; a UUID has 36."""

DIGEST_BYTES = 16
"""Bytes of the hash of a longer id: no two of 2**64 ids share it."""


def remembered(event_id: str) -> str:
    """Return the id, or its hash if it is long, so that a million of them need little memory.

    >>> remembered("e-1"), len(remembered("x" * 100_000))
    ('e-1', 33)
    """
    if len(event_id) <= SHORT_ID and event_id.isascii():
        return event_id
    digest = hashlib.blake2b(event_id.encode(), digest_size=DIGEST_BYTES).hexdigest()
    return f"#{digest}"


@dataclass
class Segment:
    """The changes of the remembered ids between two offsets of the log, in order.

    Parameters
    ----------
    number
        It starts at offset ``number * SEGMENT_OFFSETS``.
    ids, offsets
        Ids that were seen or removed, and the offsets at which this happened.
    forgotten
        Positions of the ids that were removed.
    """

    number: int
    ids: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)


class EventIds:
    """The last `limit` ids, by the order in which they were last seen.

    They depend only on the end of the log: reading it again from `since` on restores them.
    `take_segments` and `segments` transfer them to another process without the log.

    >>> ids = EventIds(limit=2)
    >>> [ids.add(name, offset) for offset, name in enumerate(["x", "y", "x", "z", "y"])]
    [True, True, False, True, True]
    """

    def __init__(self, limit: int, segments: Iterable[Segment] = ()) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, int] = OrderedDict()  # id → offset
        self._newest = Segment(0)
        self._newest_end = 0  # offset; 0: not in a changed segment yet
        self._kept: deque[int] = deque()  # numbers of segments, oldest first
        self._changed: dict[int, Segment] = {}
        for segment in sorted(segments, key=lambda segment: segment.number):
            self._replay(segment)

    def add(self, event_id: str, offset: int) -> bool:
        """Remember an id; return whether it was new."""
        if len(event_id) > SHORT_ID or not event_id.isascii():
            event_id = remembered(event_id)
        segment = self._newest if offset < self._newest_end else self._change(offset)
        segment.ids.append(event_id)
        segment.offsets.append(offset)
        return self._see(event_id, offset)

    def remove(self, event_id: str, offset: int) -> None:
        """Remove an id, at an offset not below the last one."""
        event_id = remembered(event_id)
        segment = self._change(offset)
        segment.forgotten.append(len(segment.ids))
        segment.ids.append(event_id)
        segment.offsets.append(offset)
        self._seen.pop(event_id, None)

    def clear(self) -> None:
        """Remove all ids, because later ids are of another kind."""
        self._seen.clear()
        self._changed.clear()
        self._newest = Segment(NO_NUMBER)
        self._newest_end = 0

    @property
    def since(self) -> int | None:
        """Return the offset of the oldest id; None without one."""
        return next(iter(self._seen.values()), None)

    def take_segments(self) -> Iterator[tuple[int, Segment | None]]:
        """Yield numbers and segments changed since the last call; None: no longer needed."""
        since = self.since
        while self._kept and (since is None or self._kept[0] < since // SEGMENT_OFFSETS):
            number = self._kept.popleft()
            self._changed.pop(number, None)
            yield number, None
        yield from self._changed.items()
        self._changed = {}
        self._newest_end = 0

    def drop_changes(self) -> None:
        """Discard the changes for `take_segments`; a reader of the log does not need them."""
        self._kept.clear()
        self._changed.clear()
        self._newest_end = 0

    def _see(self, event_id: str, offset: int) -> bool:
        seen = self._seen
        if event_id in seen:
            seen.move_to_end(event_id)
            seen[event_id] = offset
            return False
        seen[event_id] = offset
        if len(seen) > self._limit:
            seen.popitem(last=False)
        return True

    def _change(self, offset: int) -> Segment:
        """Return the segment of an offset, and mark it as changed."""
        number = offset // SEGMENT_OFFSETS
        if number != self._newest.number or not self._kept:
            self._newest = Segment(number)
            self._kept.append(number)
        self._changed[number] = self._newest
        self._newest_end = (number + 1) * SEGMENT_OFFSETS
        return self._newest

    def _replay(self, segment: Segment) -> None:
        segment.ids = list(map(remembered, segment.ids))  # earlier versions did not hash long ids
        self._newest = segment
        self._kept.append(segment.number)
        forgotten = set(segment.forgotten)
        for position, (event_id, offset) in enumerate(
            zip(segment.ids, segment.offsets, strict=True)
        ):
            if position in forgotten:
                self._seen.pop(event_id, None)
            else:
                self._see(event_id, offset)
