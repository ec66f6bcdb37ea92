"""Keep a block's sessions in columns on disk: the trainer has none of them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ader_stream.runtime.disk import DiskColumn
from ader_stream.types import ROWS_AT_ONCE, ItemColumns, Session

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SessionColumns:
    """S sessions in columns.

    Parameters
    ----------
    items
        Item ids of their clicks.
    first, last
        Times of their first and last clicks, ms (S,).
    began
        Times of their earliest clicks, ms (S,): before `first` if the click was late.
    erased_to
        Offset of the control topic below which no erasure request covers them (S,).
    utf8, key_offsets
        Keys, one after another, and their boundaries (S + 1,).
    """

    items: ItemColumns
    first: Int64
    last: Int64
    began: Int64
    erased_to: Int64
    utf8: npt.NDArray[np.uint8]
    key_offsets: Int64

    @classmethod
    def of(cls, sessions: Iterable[Session]) -> SessionColumns:
        """Write sessions to disk, in their order."""
        writer = ColumnWriter()
        writer.extend(list(sessions))
        return writer.columns()

    def __len__(self) -> int:
        return len(self.first)

    def key(self, row: int) -> str:
        """Return a session's key."""
        start, end = self.key_offsets[row : row + 2]
        return self.utf8[start:end].tobytes().decode()

    def keys(self) -> Iterator[str]:
        """Yield the sessions' keys."""
        return map(bytes.decode, self.utf8_keys())

    def utf8_keys(self) -> Iterator[bytes]:
        """Yield the sessions' keys as UTF-8; a few thousand are in memory at a time."""
        for row in range(0, len(self), ROWS_AT_ONCE):
            first, *ends = self.key_offsets[row : row + ROWS_AT_ONCE + 1].tolist()
            text, start = self.utf8[first : ends[-1]].tobytes(), 0
            for end in ends:
                yield text[start : end - first]
                start = end - first

    def sorted(self) -> SessionColumns:
        """Return the sessions by (last time, first time, key)."""
        order = np.lexsort((self.first, self.last))
        alike = (np.diff(self.first[order]) == 0) & (np.diff(self.last[order]) == 0)
        for start, end in _runs(alike):
            order[start:end] = sorted(order[start:end].tolist(), key=self.key)
        return self.take(order)

    def take(self, rows: Int64) -> SessionColumns:
        """Copy the sessions at `rows`, in their order."""
        items, offsets = _gathered(self.items.codes, self.items.offsets, rows)
        utf8, key_offsets = _gathered(self.utf8, self.key_offsets, rows)
        columns = ItemColumns(self.items.names, items, offsets)
        times = self.first[rows], self.last[rows], self.began[rows]
        return SessionColumns(columns, *times, self.erased_to[rows], utf8, key_offsets)


class ColumnWriter:
    """Writes sessions to disk, in the order in which they are added."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._items, self._utf8 = DiskColumn(np.int32), DiskColumn(np.uint8)
        self._clicks, self._key_sizes = DiskColumn(np.int64), DiskColumn(np.int64)
        self._first, self._last = DiskColumn(np.int64), DiskColumn(np.int64)
        self._began, self._erased_to = DiskColumn(np.int64), DiskColumn(np.int64)

    def extend(self, sessions: Sequence[Session]) -> None:
        """Append sessions."""
        codes = self._codes
        items = chain.from_iterable(session.items for session in sessions)
        keys = [session.key.encode() for session in sessions]
        self._items.extend([codes.setdefault(item, len(codes)) for item in items])
        self._utf8.extend(np.frombuffer(b"".join(keys), np.uint8))
        self._clicks.extend([len(session.items) for session in sessions])
        self._key_sizes.extend([len(key) for key in keys])
        self._first.extend([session.times[0] for session in sessions])
        self._last.extend([session.times[-1] for session in sessions])
        self._began.extend([session.began for session in sessions])
        self._erased_to.extend([session.erased_to for session in sessions])

    def columns(self) -> SessionColumns:
        """Return the written columns; no session can be added any more."""
        return SessionColumns(
            ItemColumns(tuple(self._codes), self._items.array(), _offsets(self._clicks.array())),
            self._first.array(),
            self._last.array(),
            self._began.array(),
            self._erased_to.array(),
            self._utf8.array(),
            _offsets(self._key_sizes.array()),
        )


def _runs(alike: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of runs in which each element equals the one before.

    >>> list(_runs(np.array([False, True, True, False, True])))
    [(1, 4), (4, 6)]
    """
    edges = np.diff(np.concatenate([[0], alike.view(np.int8), [0]]))
    for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        yield int(start), int(end) + 1


def _offsets(sizes: Int64) -> Int64:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _gathered(
    values: npt.NDArray[Any], offsets: Int64, rows: Int64
) -> tuple[npt.NDArray[Any], Int64]:
    """Copy ``values[offsets[row]:offsets[row + 1]]`` of each row; also return the new offsets."""
    starts, sizes = offsets[rows], np.diff(offsets)[rows]
    gathered, column = _offsets(sizes), DiskColumn(values.dtype)
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(begin, begin + ROWS_AT_ONCE)
        shift = np.repeat(starts[part] - gathered[:-1][part], sizes[part])
        column.extend(values[np.arange(len(shift)) + gathered[begin] + shift])
    return column.array(), gathered
