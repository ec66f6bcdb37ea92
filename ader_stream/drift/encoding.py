"""Encode the counts of a block as bytes, and read them again.

A record is ``ADRS``, one byte with the number of the format, and a zlib stream of: a header of
64-bit integers, the arrays, the counts of the items (all 64-bit, little-endian), the ids' lengths
in bytes (32-bit), the ids as UTF-8 in ascending order, and the sketch of frequent items, empty
where counts are exact. The same exact counts give the same bytes; the sketch's depend on the order
of the clicks.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from datasketches import frequent_strings_sketch

from ader_stream.drift.item_counts import ItemCounts
from ader_stream.errors import DecodeError

Int64 = npt.NDArray[np.int64]

MAGIC = b"ADRS"
FORMAT = 1
NO_TIME = -(2**63)
"""Stands for the time of no click."""

_HEADER = struct.Struct("<9q")


class EncodedCounts(NamedTuple):
    """What a record holds; `arrays` have the sizes that the format fixes."""

    sessions: int
    repeat_clicks: int
    first_time: int | None
    last_time: int | None
    items: ItemCounts
    arrays: Sequence[Int64]


def encode(counts: EncodedCounts) -> bytes:
    """Return the counts as bytes: at most the ids and about 4 bytes for each item, and 20 kB."""
    return MAGIC + bytes([FORMAT]) + zlib.compress(b"".join(_pieces(counts)))


def decode(data: bytes, sizes: Sequence[int]) -> EncodedCounts:
    """Return the counts that `encode` wrote, with arrays of these sizes.

    Raises
    ------
    DecodeError
        They are damaged, or of a newer format.
    """
    if data[:4] != MAGIC or len(data) < 5:
        raise DecodeError(f"block statistics begin with {data[:4]!r}; expected {MAGIC!r}")
    if data[4] > FORMAT:
        raise DecodeError(
            f"block statistics have format {data[4]}; this release reads formats up to {FORMAT}: "
            "update it, or count the block again"
        )
    try:
        return _Reader(zlib.decompress(data[5:])).counts(sizes)
    except (zlib.error, struct.error, ValueError, RuntimeError) as error:
        raise DecodeError(f"block statistics are damaged: {error}; count the block again") from None


def _pieces(counts: EncodedCounts) -> list[bytes]:
    items = counts.items
    names = [(item.encode(errors="surrogatepass"), n) for item, n in sorted(items.sample.items())]
    return [
        _header(counts, len(names)),
        *(array.astype("<i8").tobytes() for array in counts.arrays),
        np.array([count for _, count in names], "<i8").tobytes(),
        np.array([len(name) for name, _ in names], "<i4").tobytes(),
        *(name for name, _ in names),
        items.head.serialize() if items.head else b"",
    ]


def _header(counts: EncodedCounts, names: int) -> bytes:
    items, times = counts.items, (counts.first_time, counts.last_time)
    return _HEADER.pack(
        *(counts.sessions, counts.repeat_clicks),
        *(NO_TIME if time is None else time for time in times),
        *(items.clicks, items.max_items, items.level, names, len(counts.arrays)),
    )


def _time(encoded: int) -> int | None:
    return None if encoded == NO_TIME else encoded


class _Reader:
    """Takes one part after another from the decompressed bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    def counts(self, sizes: Sequence[int]) -> EncodedCounts:
        """Return what the bytes hold."""
        sessions, repeats, first, last, clicks, max_items, level, names, _ = _HEADER.unpack(
            self._take(_HEADER.size)
        )
        arrays = [self._integers(size) for size in sizes]
        items = self._items(ItemCounts(max_items), clicks, level, names)
        return EncodedCounts(sessions, repeats, _time(first), _time(last), items, arrays)

    def _items(self, items: ItemCounts, clicks: int, level: int, names: int) -> ItemCounts:
        counts = self._integers(names).tolist()
        sizes = np.frombuffer(self._take(4 * names), "<i4").tolist()
        ids = [self._take(size).decode(errors="surrogatepass") for size in sizes]
        items.clicks, items.level = clicks, level
        items.sample = Counter(dict(zip(ids, counts, strict=True)))
        if rest := self._data[self._next :]:
            items.head = frequent_strings_sketch.deserialize(rest)
        return items

    def _integers(self, count: int) -> Int64:
        return np.frombuffer(self._take(8 * count), "<i8").astype(np.int64)

    def _take(self, size: int) -> bytes:
        start, self._next = self._next, self._next + size
        if size < 0 or self._next > len(self._data):
            raise ValueError(f"{len(self._data)} bytes; expected at least {self._next}")
        return self._data[start : self._next]
