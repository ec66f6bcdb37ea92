"""What is counted of the sessions of one block: sums that can be merged."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Protocol

import numpy as np

from ader_stream.drift.encoding import EncodedCounts, decode, encode
from ader_stream.drift.histograms import INTERVAL_BINS, LENGTH_BINS, interval_bins, length_bins
from ader_stream.drift.item_counts import MAX_ITEMS, ItemCounts
from ader_stream.errors import InputError

KEY_GROUPS = 1_024
"""Groups of session keys, by hash: 8 kB. No key is kept, so an erasure changes nothing here."""


class SessionLike(Protocol):
    """A closed session: `ader_stream.types.Session` is one."""

    @property
    def key(self) -> str:
        """Return the session key."""

    @property
    def items(self) -> Sequence[str]:
        """Return the item ids of the clicks."""

    @property
    def times(self) -> Sequence[int]:
        """Return the event times of the clicks, ms, ascending."""


class BlockStatistics:
    """Counts over the sessions of one block of one input partition, or of several merged.

    All are sums (or a minimum and a maximum), so the order of sessions and of merging changes
    nothing. Memory is constant: the items of `ItemCounts` and about 10 kB.

    Parameters
    ----------
    max_items
        Items that are counted exactly; see `ItemCounts`.

    Attributes
    ----------
    sessions, clicks
        Their numbers.
    repeat_clicks
        Clicks on items that their session already held.
    items
        Clicks by item.
    lengths
        Sessions by number of clicks, (`LENGTH_BINS`,).
    intervals
        Pairs of consecutive clicks of a session by time between them, (`INTERVAL_BINS`,).
    key_clicks
        Clicks by group of session keys, (`KEY_GROUPS`,).
    first_time, last_time
        Event times of the first and the last click, ms; None without clicks.
    """

    def __init__(self, max_items: int = MAX_ITEMS) -> None:
        self.sessions = 0
        self.repeat_clicks = 0
        self.items = ItemCounts(max_items)
        self.lengths = np.zeros(LENGTH_BINS, np.int64)
        self.intervals = np.zeros(INTERVAL_BINS, np.int64)
        self.key_clicks = np.zeros(KEY_GROUPS, np.int64)
        self.first_time: int | None = None
        self.last_time: int | None = None

    @property
    def clicks(self) -> int:
        """Return the number of clicks."""
        return self.items.clicks

    @property
    def targets(self) -> int:
        """Return the number of clicks that have another one before them in their session."""
        return self.clicks - self.sessions

    def add(self, items: Sequence[str], times: Sequence[int], key: str = "") -> None:
        """Count one session; `add_sessions` is much faster for many.

        Raises
        ------
        InputError
            See `add_sessions`.
        """
        self._add([key], [items], [times])

    def add_sessions(self, sessions: Collection[SessionLike]) -> None:
        """Count sessions.

        Raises
        ------
        InputError
            A session has no click, not one time for each item, or times that descend; nothing is
            counted then.
        """
        self._add(
            [session.key for session in sessions],
            [session.items for session in sessions],
            [session.times for session in sessions],
        )

    def merge(self, other: BlockStatistics) -> None:
        """Add the counts of another one, which stays as it is."""
        self.sessions += other.sessions
        self.repeat_clicks += other.repeat_clicks
        self.items.merge(other.items)
        self.lengths += other.lengths
        self.intervals += other.intervals
        self.key_clicks += other.key_clicks
        self._extend(other.first_time, other.last_time)

    def to_bytes(self) -> bytes:
        """Return the counts in the format of `ader_stream.drift.encoding`."""
        arrays = self.lengths, self.intervals, self.key_clicks
        times = self.first_time, self.last_time
        return encode(EncodedCounts(self.sessions, self.repeat_clicks, *times, self.items, arrays))

    @classmethod
    def from_bytes(cls, data: bytes) -> BlockStatistics:
        """Return the counts that `to_bytes` wrote; raise DecodeError if they cannot be read."""
        counts = decode(data, (LENGTH_BINS, INTERVAL_BINS, KEY_GROUPS))
        found = cls(counts.items.max_items)
        found.sessions, found.repeat_clicks = counts.sessions, counts.repeat_clicks
        found.first_time, found.last_time = counts.first_time, counts.last_time
        found.items = counts.items
        found.lengths, found.intervals, found.key_clicks = counts.arrays
        return found

    def _add(
        self,
        keys: Sequence[str],
        items: Sequence[Sequence[str]],
        times: Sequence[Sequence[int]],
    ) -> None:
        if not keys:
            return
        lengths = np.fromiter(map(len, items), np.int64, len(items))
        flat = np.fromiter(chain.from_iterable(times), np.int64)
        intervals = _intervals(lengths, flat, times)
        self.sessions += len(keys)
        self.repeat_clicks += int(lengths.sum()) - sum(map(len, map(set, items)))
        self.items.update(chain.from_iterable(items))
        self.lengths += np.bincount(length_bins(lengths), minlength=LENGTH_BINS)
        self.intervals += np.bincount(interval_bins(intervals), minlength=INTERVAL_BINS)
        np.add.at(self.key_clicks, [group_of(key) for key in keys], lengths)
        self._extend(int(flat.min()), int(flat.max()))

    def _extend(self, first: int | None, last: int | None) -> None:
        if first is None or last is None:
            return
        self.first_time = first if self.first_time is None else min(first, self.first_time)
        self.last_time = last if self.last_time is None else max(last, self.last_time)


def merged(parts: Collection[BlockStatistics], max_items: int = MAX_ITEMS) -> BlockStatistics:
    """Return the sum of several statistics."""
    total = BlockStatistics(max_items)
    for part in parts:
        total.merge(part)
    return total


def group_of(key: str) -> int:
    """Return the group of a session key; the same in every process."""
    return zlib.crc32(key.encode(errors="surrogatepass")) % KEY_GROUPS


def _intervals(
    lengths: np.ndarray[tuple[int], np.dtype[np.int64]],
    flat: np.ndarray[tuple[int], np.dtype[np.int64]],
    times: Sequence[Sequence[int]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the times between consecutive clicks of the same session."""
    if lengths.min() < 1 or [*map(len, times)] != lengths.tolist():
        raise InputError("a session has no click, or not one time for each item; expected both")
    inside = np.ones(len(flat), bool)
    inside[np.cumsum(lengths)[:-1]] = False
    intervals = np.diff(flat)[inside[1:]]
    if len(intervals) and intervals.min() < 0:
        raise InputError(
            f"two clicks of a session are {intervals.min()} ms apart; expected ascending times"
        )
    return intervals
