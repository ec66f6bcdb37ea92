"""An open session: its clicks in order, and the place in the log where it can be read again."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from ader_stream.stream.avro.encoding import text_bytes, texts_in
from ader_stream.types import CLICK_BYTES

T = TypeVar("T")


class Jump(NamedTuple):
    """The stream time advanced by `lead` ms at once, at the record of an offset."""

    offset: int
    lead: int


class ReplayPoint(NamedTuple):
    """An offset of the log, and the window's state there (see `WindowState`)."""

    offset: int
    watermark: int | None
    open_block: int | None
    jumps: tuple[Jump, ...] = ()
    sole_key: str | None = None


FIELD_BYTES = 8
"""Most bytes of the lengths of a field's name and value: a click is far below the 128 MiB that
would need longer ones."""

NOWHERE = ReplayPoint(0, None, None)

NO_TIMES = array("q")
"""Template to copy: making an array of one time from a list takes five times as long."""

NONE: dict[int, Any] = {}
"""Shared by all sessions without such clicks, never changed: two separate ones take 128 bytes."""


@dataclass(slots=True, eq=False)
class OpenSession:
    """The clicks of one key in one block so far, in the order (effective time, offset).

    It has columns, not an object for each click, and item ids as the bytes that are written. Of a
    million sessions, hardly any is in the processor's caches, and each object of a session would
    have to be fetched at each click and again at each commit.

    Parameters
    ----------
    times
        Effective times (ms).
    texts
        Item ids as Avro writes them, one after the other.
    carried
        Position → original event time (ms) of the late clicks among them.
    extra
        Position → the click's fields that pass through unchanged.
    reads_from
        Where the log must be read from to restore the session: its first click, or an older record
        that decided which clicks belong to it.
    ends_at
        From this event time (ms) on, a click starts another session, or this one is too old: the
        end of its block, or its greatest age. 0 if that is not computed yet, or if each click must
        be checked because it may be too large.
    extra_bytes
        Most bytes of the fields that pass through, as they are written.
    is_full
        It accepts no more clicks, and is written when its block opens.
    is_closed
        It was written to the output, or was merged into another one.
    has_changed
        It has changed since its window last reported it.
    is_known
        Its window has reported it before, or was given it.
    """

    key: str
    block: int
    times: array[int]
    texts: bytes
    carried: dict[int, int] = field(default_factory=lambda: NONE)
    extra: dict[int, Mapping[str, str]] = field(default_factory=lambda: NONE)
    reads_from: ReplayPoint = NOWHERE
    ends_at: int = 0
    extra_bytes: int = 0
    is_full: bool = False
    is_closed: bool = False
    has_changed: bool = False
    is_known: bool = False

    @classmethod
    def of(
        cls,
        key: str,
        block: int,
        times: Iterable[int],
        items: Iterable[str],
        carried: dict[int, int] = NONE,
        extra: dict[int, Mapping[str, str]] = NONE,
    ) -> OpenSession:
        """Return a session of times and item ids.

        >>> OpenSession.of("a", 0, [10, 20], ["shoe", "hat"]).items
        ['shoe', 'hat']
        """
        texts = b"".join(map(text_bytes, items))
        extra_bytes = sum(map(fields_bytes, extra.values()))
        clicks = array("q", times), texts, carried or NONE, extra or NONE
        return cls(key, block, *clicks, extra_bytes=extra_bytes)

    @property
    def items(self) -> list[str]:
        """Return the item ids of the clicks."""
        return texts_in(self.texts)

    @property
    def first(self) -> int:
        """Return the effective time (ms) of the first click."""
        return self.times[0]

    @property
    def began(self) -> int:
        """Return the time (ms) of the earliest click: before `first` if it was late."""
        return min(self.times[0], *self.carried.values()) if self.carried else self.times[0]

    @property
    def last(self) -> int:
        """Return the effective time (ms) of the last click."""
        return self.times[-1]

    @property
    def size(self) -> int:
        """Return the most bytes that it has as it is written, without its key."""
        return len(self.texts) + CLICK_BYTES * len(self.times) + self.extra_bytes

    def insert(self, time: int, item: str, original: int | None, extra: Mapping[str, str]) -> int:
        """Insert a click after those of the same time, and return its position.

        `original` is the event time (ms) of a late click.
        """
        position = bisect_right(self.times, time)
        if position == len(self.times):
            self.texts += text_bytes(item)
        else:
            self.texts = b"".join(map(text_bytes, _with(self.items, position, item)))
            self.carried = _shifted(self.carried, position, 1)
            self.extra = _shifted(self.extra, position, 1)
        self.times.insert(position, time)
        if original is not None:
            self.carried = self.carried or {}
            self.carried[position] = original
        if extra:
            self.add_extra(position, extra, fields_bytes(extra))
        return position

    def add_extra(self, position: int, extra: Mapping[str, str], size: int) -> None:
        """Store fields that pass through, with their size in bytes, for the click at a position."""
        self.extra = self.extra or {}
        self.extra[position] = extra
        self.extra_bytes += size

    def append(self, later: OpenSession) -> None:
        """Append the clicks of a session that starts after this one's end."""
        self.carried = self.carried | _shifted(later.carried, 0, len(self.times))
        self.extra = self.extra | _shifted(later.extra, 0, len(self.times))
        self.extra_bytes += later.extra_bytes
        self.times += later.times
        self.texts += later.texts
        self.read_from(later.reads_from)

    def read_from(self, point: ReplayPoint) -> None:
        """Record that the log is needed from this place on, if it is earlier."""
        if point.offset < self.reads_from.offset:
            self.reads_from = point


def fields_bytes(fields: Mapping[str, str]) -> int:
    """Return the most bytes of fields that pass through, as they are written.

    >>> fields_bytes({"price": "1"})
    14
    """
    characters = "".join(chain.from_iterable(fields.items()))
    size = len(characters) if characters.isascii() else len(characters.encode())
    return size + FIELD_BYTES * len(fields)


def _with(items: list[str], position: int, item: str) -> list[str]:
    items.insert(position, item)
    return items


def _shifted(by_position: dict[int, T], start: int, by: int) -> dict[int, T]:
    """Shift the positions from `start` on."""
    return {at + by if at >= start else at: value for at, value in by_position.items()}
