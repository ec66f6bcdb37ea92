"""Decode many Avro values at once: each step takes one field of every value, with numpy.

Python decodes one value after the other, field by field, and each step costs. Here the position in
each value is an array, and texts are cut out of the joined bytes. A value that a step does not
support (a text that is not UTF-8, a list that is not empty, a null where a text is wanted, too few
or too many bytes) is left out: it is for the decoder of single values, which supports all of Avro
and says what is wrong.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ader_stream.stream.avro.encoding import texts_in

Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_LONGS = array("q")

MOST_VARINT_BYTES = 9
"""Most bytes of a whole number that is decoded here: with ten, it may not fit 64 bits."""


class Cursor:
    """Hold the position of decoding in each of many values.

    Attributes
    ----------
    data
        All values, joined.
    at, ends
        Offsets in `data` of the next byte, and of the end, of each value.
    is_plain
        Whether all that was decoded of each value so far is supported.
    lengths
        Bytes of each value.
    """

    def __init__(self, values: Sequence[bytes]) -> None:
        self.data = joined = b"".join(values)
        self.lengths: Longs = np.fromiter(map(len, values), np.int64, len(values))
        ends = np.cumsum(self.lengths)
        self.at: Longs = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
        self.is_plain: Flags = np.ones(len(values), np.bool_)
        self.ends = ends
        self._last = len(joined)
        self._bytes = np.frombuffer(joined + bytes(MOST_VARINT_BYTES), np.uint8)
        self._text = joined.decode("latin-1")

    def left_out(self) -> list[int]:
        """Return the positions of values that were not decoded, or not to their ends."""
        found: list[int] = np.flatnonzero(~self.is_plain | (self.at != self.ends)).tolist()
        return found

    def part(self, rows: Longs) -> Cursor:
        """Return a cursor at the same positions, for some of the values."""
        part = copy(self)
        part.at, part.is_plain, part.ends = self.at[rows], self.is_plain[rows], self.ends[rows]
        return part

    def follow(self, part: Cursor, rows: Longs) -> None:
        """Move to the positions of a `part`."""
        self.at, self.is_plain = self.at.copy(), self.is_plain.copy()
        self.at[rows], self.is_plain[rows] = part.at, part.is_plain

    def expect(self, number: Longs | int) -> None:
        """Decode a whole number of each value, which must equal `number`."""
        found = self.longs()
        self.is_plain = self.is_plain & (found == number)

    def move(self, by: Longs | int) -> None:
        """Skip bytes of each value."""
        self.at = self.at + by
        self.is_plain = self.is_plain & (self.at <= self.ends)
        np.minimum(self.at, self._last, out=self.at)

    def longs(self) -> Longs:
        """Decode a whole number of each value."""
        byte = self._bytes[self.at]
        found = (byte & 127).astype(np.int64)
        length = np.ones(len(byte), np.int64)
        more = byte > 127
        for position in range(1, MOST_VARINT_BYTES):
            if not more.any():
                break
            byte = self._bytes[self.at + position]
            found |= np.where(more, (byte & 127).astype(np.int64) << 7 * position, 0)
            length += more
            more &= byte > 127
        self.is_plain = self.is_plain & ~more
        self.move(length)
        return (found >> 1) ^ -(found & 1)

    def counted(self) -> tuple[list[int], list[int]]:
        """Skip a length and as many bytes; return where these begin and end."""
        length = self.longs()
        self.is_plain = self.is_plain & (length >= 0)
        begin = self.at
        self.move(np.clip(length, 0, self._last))
        return begin.tolist(), np.where(self.is_plain, self.at, begin).tolist()

    def texts(self) -> list[str]:
        """Decode a text of each value."""
        text = self._text
        found = [text[begin:end] for begin, end in zip(*self.counted(), strict=True)]
        if not "".join(found).isascii():
            self.is_plain = self.is_plain.copy()
            for position, latin in enumerate(found):
                if not latin.isascii():
                    found[position] = self._utf8(position, latin)
        return found

    def long_arrays(self, counts: Longs) -> list[array[int]]:
        """Decode an array of `counts` longs of each value."""
        ends = np.cumsum(counts)
        every, begins = np.empty(ends[-1], np.int64), ends - counts
        for position, rows, part in self._items(counts):
            every[begins[rows] + position] = part.longs()
        self.expect(0)
        data, found = every.tobytes(), []
        for begin, end in pairwise([0, *(ends * every.itemsize).tolist()]):
            longs = NO_LONGS[:]
            longs.frombytes(data[begin:end])
            found.append(longs)
        return found

    def text_arrays(self, counts: Longs) -> list[bytes]:
        """Skip an array of `counts` texts of each value; return the bytes of the texts."""
        self.expect(counts)
        begins = self.at.tolist()
        for _, _, part in self._items(counts):
            part.counted()
        found = [self.data[begin:end] for begin, end in zip(begins, self.at.tolist(), strict=True)]
        self.expect(0)
        for position, texts in enumerate(found):
            if not texts.isascii() and not _are_utf8(texts):
                self.is_plain[position] = False
        return found

    def _items(self, counts: Longs) -> Iterator[tuple[int, Longs, Cursor]]:
        """Yield the position of an item, the values that have so many, and a cursor on them."""
        for position in range(counts.max()):
            rows = np.flatnonzero(counts > position)
            part = self.part(rows)
            yield position, rows, part
            self.follow(part, rows)

    def _utf8(self, position: int, latin: str) -> str:
        try:
            return latin.encode("latin-1").decode()
        except UnicodeDecodeError:
            self.is_plain[position] = False
            return ""


def _are_utf8(texts: bytes) -> bool:
    try:
        return bool(texts_in(texts))
    except (UnicodeDecodeError, IndexError):
        return False
