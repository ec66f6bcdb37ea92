"""A table of distinct strings, held as bytes instead of Python objects.

A million ids of seven digits take 7 MB, 8 MB for their offsets, and 8 MB for the hash table; a
tuple and a dict of them take 150 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from ader_stream.ader.data.arrays import Bools, Int32, Int64, UInt8

AT_ONCE = 2**16
"""Strings that get their slots of the hash table together."""


class StringTable:
    """Strings in an order, with a hash table: open addressing, half of the slots free.

    Parameters
    ----------
    utf8
        Their bytes end to end; shared, not copied.
    offsets
        Where each begins, and where the last one ends (T + 1,), rising from 0; also shared.

    Raises
    ------
    ValueError
        One is not UTF-8, or is there twice.

    >>> texts = StringTable.of(["hat", "shoe"])
    >>> texts.row("shoe"), texts.row("sock"), texts[0]
    (1, None, 'hat')
    """

    def __init__(self, utf8: UInt8, offsets: Int64) -> None:
        self.utf8, self.offsets = utf8, offsets
        self._bytes, self._starts = utf8.data, offsets.data
        hashes = np.fromiter(map(hash, self), np.int64, len(self))
        self._require_distinct(hashes)
        self._slots = _filled_slots(hashes).data

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringTable:
        """Return a table of strings."""
        encoded = [text.encode() for text in texts]
        sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
        utf8 = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(utf8, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))

    def extended(self, more: StringTable) -> StringTable:
        """Return the table with more strings at its end."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + more.offsets[1:]])
        return StringTable(np.concatenate([self.utf8, more.utf8]), offsets)

    def keep(self, kept: Bools) -> StringTable:
        """Return the table of some of the strings (T,), in their order.

        >>> list(StringTable.of(["hat", "shoe", "sock"]).keep(np.array([True, False, True])))
        ['hat', 'sock']
        """
        sizes = np.diff(self.offsets)
        ends = np.cumsum(sizes[kept])
        utf8 = self.utf8[np.repeat(kept, sizes)]
        return StringTable(utf8, np.concatenate([np.zeros(1, np.int64), ends]))

    def row(self, text: str) -> int | None:
        """Return the row of a string, or None where the table does not have it."""
        slots, starts = self._slots, self._starts
        wanted = text.encode(errors="surrogatepass")  # half of a pair is in no UTF-8
        slot = hash(text) % len(slots)
        while number := slots[slot]:
            if self._bytes[starts[number - 1] : starts[number]] == wanted:
                return number - 1
            slot = (slot + 1) % len(slots)
        return None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        return str(self._bytes[self._starts[row] : self._starts[row + 1]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        for start, end in pairwise(self._starts):
            yield str(self._bytes[start:end], "utf-8")

    def _require_distinct(self, hashes: Int64) -> None:
        ordered = np.sort(hashes)
        if (ordered[1:] == ordered[:-1]).any() and (twice := len(self) - len(set(self))):
            raise ValueError(f"{twice} of {len(self)} strings are duplicates")


def _filled_slots(hashes: Int64) -> Int32:
    """Return the slots: each string's number, from 1, in the first free slot after its hash."""
    slots = np.zeros(2 ** (2 * len(hashes)).bit_length(), np.int32)
    for first in range(0, len(hashes), AT_ONCE):
        wanted = hashes[first : first + AT_ONCE] % len(slots)
        numbers = np.arange(first + 1, first + 1 + len(wanted), dtype=np.int32)
        while len(numbers):
            free = slots[wanted] == 0
            slots[wanted[free]] = numbers[free]  # of several that want one slot, the last gets it
            without = slots[wanted] != numbers
            numbers, wanted = numbers[without], (wanted[without] + 1) % len(slots)
    return slots
