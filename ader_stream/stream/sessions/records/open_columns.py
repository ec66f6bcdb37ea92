"""Open sessions from what the changelog says of their keys, read side by side with numpy.

Nearly every key has one session, of which nothing was late, full or capped and no field passes
through. Those are read here; what is another one is left to the reader of single values.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from ader_stream.stream.avro.encoding import texts_in
from ader_stream.stream.clicks.avro_columns import Cursor, Longs
from ader_stream.stream.sessions.open.session import NO_TIMES, NONE, OpenSession

MOST_CLICKS = 100
"""Of a session that is read here: all are walked click by click, as often as the longest needs."""

NOTHING_BEHIND = 5
"""Zeros: nothing carried, no extra fields, not full, no other session, not capped."""


def read_plain(keys: Sequence[bytes], values: Sequence[bytes]) -> list[OpenSession | None]:
    """Return the session of each key, from its OpenSessions; None where it is not so simple."""
    cursor = Cursor(values)
    cursor.expect(1)
    blocks, counts = cursor.longs().tolist(), cursor.longs()
    cursor.is_plain = cursor.is_plain & (counts > 0) & (counts <= MOST_CLICKS)
    counts = np.where(cursor.is_plain, counts, 0)
    times, texts = _times(cursor, counts), _texts(cursor, counts)
    for _ in range(NOTHING_BEHIND):
        cursor.expect(0)
    one_of: dict[int, int] = {}  # many sessions lie in one block: one number for all of them
    found: list[OpenSession | None] = [
        OpenSession(key.decode(), one_of.setdefault(block, block), of_key, text, NONE, NONE)
        for key, block, of_key, text in zip(keys, blocks, times, texts, strict=True)
    ]
    for position in cursor.left_out():
        found[position] = None
    return found


def _times(cursor: Cursor, counts: Longs) -> list[array[int]]:
    """Read an array of so many times of each value."""
    ends = np.cumsum(counts)
    every, begins = np.empty(ends[-1], np.int64), ends - counts
    for click, rows, part in _walk(cursor, counts):
        every[begins[rows] + click] = part.longs()
    cursor.expect(0)
    data, found = every.tobytes(), []
    for begin, end in pairwise([0, *(ends * every.itemsize).tolist()]):
        times = NO_TIMES[:]
        times.frombytes(data[begin:end])
        found.append(times)
    return found


def _texts(cursor: Cursor, counts: Longs) -> list[bytes]:
    """Pass over an array of so many texts of each value; return their bytes."""
    cursor.expect(counts)
    begins = cursor.at.tolist()
    for _, _, part in _walk(cursor, counts):
        part.counted()
    found = [cursor.data[begin:end] for begin, end in zip(begins, cursor.at.tolist(), strict=True)]
    cursor.expect(0)
    for position, texts in enumerate(found):
        if not texts.isascii() and not _are_utf8(texts):
            cursor.is_plain[position] = False
    return found


def _are_utf8(texts: bytes) -> bool:
    try:
        return bool(texts_in(texts))
    except (UnicodeDecodeError, IndexError):
        return False


def _walk(cursor: Cursor, counts: Longs) -> Iterator[tuple[int, Longs, Cursor]]:
    """Yield the number of a click, the values that have so many, and a cursor that reads it."""
    for click in range(counts.max()):
        rows = np.flatnonzero(counts > click)
        part = cursor.part(rows)
        yield click, rows, part
        cursor.follow(part, rows)
