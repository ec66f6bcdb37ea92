"""Distinct texts, as bytes: no object of Python's stands for any of them.

A million ids of seven digits take 7 MB, 8 for where each begins, and 8 for finding them; a tuple
of them and a dict take 150.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from ader_stream.ader.data.arrays import Bools, Int32, Int64, UInt8

AT_ONCE = 2**16
"""Texts that are found a slot for together."""


class Texts:
    """Texts in an order, found by their hash: open addressing, half of the slots free.

    Parameters
    ----------
    utf8
        Their bytes end to end; shared, not copied.
    offsets
        Where each begins, and where the last one ends (T + 1,), rising from 0; shared, too.

    Raises
    ------
    ValueError
        One is not UTF-8, or stands there twice.

    >>> texts = Texts.of(["hat", "shoe"])
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
    def of(cls, texts: Iterable[str]) -> Texts:
        """Write texts down."""
        encoded = [text.encode() for text in texts]
        sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
        utf8 = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(utf8, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))

    def extended(self, more: Texts) -> Texts:
        """Append others."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + more.offsets[1:]])
        return Texts(np.concatenate([self.utf8, more.utf8]), offsets)

    def keep(self, kept: Bools) -> Texts:
        """Return some of them (T,) alone, in their order.

        >>> list(Texts.of(["hat", "shoe", "sock"]).keep(np.array([True, False, True])))
        ['hat', 'sock']
        """
        sizes = np.diff(self.offsets)
        ends = np.cumsum(sizes[kept])
        utf8 = self.utf8[np.repeat(kept, sizes)]
        return Texts(utf8, np.concatenate([np.zeros(1, np.int64), ends]))

    def row(self, text: str) -> int | None:
        """Return where a text stands, or None where it does not."""
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
            raise ValueError(f"{twice} of {len(self)} texts stand there twice")


def _filled_slots(hashes: Int64) -> Int32:
    """Give each text the first free slot from its hash on: there its number stands, from 1 on."""
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
