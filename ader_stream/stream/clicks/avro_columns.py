"""Many Avro clicks at once: their fields as columns, read side by side with numpy.

Python reads one value after the other, field by field, and pays for each step. Here one step takes
all values on: where each of them stands is an array, and texts are cut out of the whole batch.
What a step does not understand (a text that is not UTF-8, a list that is not empty, a null where a
text is wanted, bytes too few or too many) is left out: that is for the reader of single values,
which knows all of Avro and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ader_stream.stream.clicks.fields import Path, path_of

Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MOST_VARINT_BYTES = 9
"""Of a whole number that is read here: with ten, it may not fit 64 bits."""

FIXED_BYTES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


@dataclass(frozen=True)
class Columns:
    """Fields of many values.

    Parameters
    ----------
    fields
        A list for each field, in the order in which they were asked for.
    left_out
        Positions of values that were not read; what stands for them in `fields` means nothing.
    lengths
        Bytes of each value.
    """

    fields: list[list[Any]]
    left_out: list[int]
    lengths: Longs

    def longer_than(self, most: int) -> list[int]:
        """Positions of values of more bytes: hardly ever is there one."""
        found: list[int] = []
        if self.lengths.max() > most:
            found = np.flatnonzero(self.lengths > most).tolist()
        return found


ReadColumns = Callable[[Sequence[bytes]], Columns]


def columns_reader(schema: Any, names: Sequence[str]) -> ReadColumns | None:
    r"""Return what reads texts and whole numbers of many values; None where a schema is too rich.

    >>> fields = [{"name": "who", "type": "string"}, {"name": "at", "type": ["null", "long"]}]
    >>> read = columns_reader({"type": "record", "name": "Visit", "fields": fields}, ["who", "at"])
    >>> columns = read([b"\x04al\x02\x0e", b"\x04al\x00", b"\x04a"])
    >>> columns.fields[0][0], columns.fields[1][0], columns.left_out
    ('al', 7, [1, 2])
    """
    wanted = [path_of(name) for name in names]
    try:
        steps = _steps(schema, (), frozenset(wanted))
    except _TooRichError:
        return None
    if not {*wanted} <= {path for path, _ in steps}:
        return None

    def read(values: Sequence[bytes]) -> Columns:
        cursor = Cursor(values)
        found = {path: step(cursor) for path, step in steps}
        return Columns([found[path] for path in wanted], cursor.left_out(), cursor.lengths)

    return read


class Cursor:
    """Where the reading of each value stands.

    Attributes
    ----------
    data
        All values, joined.
    at, ends
        Its next byte, and the end of each, within all of them.
    is_plain
        Whether all of it, so far, was understood.
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
        """Positions of values that were not understood, or not to their ends."""
        found: list[int] = np.flatnonzero(~self.is_plain | (self.at != self.ends)).tolist()
        return found

    def part(self, rows: Longs) -> Cursor:
        """Return a cursor that stands where this one does in some of the values."""
        part = copy(self)
        part.at, part.is_plain, part.ends = self.at[rows], self.is_plain[rows], self.ends[rows]
        return part

    def follow(self, part: Cursor, rows: Longs) -> None:
        """Go to where a `part` has come."""
        self.at, self.is_plain = self.at.copy(), self.is_plain.copy()
        self.at[rows], self.is_plain[rows] = part.at, part.is_plain

    def expect(self, number: Longs | int) -> None:
        """Read a whole number of each value that has to be this one."""
        found = self.longs()
        self.is_plain = self.is_plain & (found == number)

    def move(self, by: Longs | int) -> None:
        """Pass over bytes of each value."""
        self.at = self.at + by
        self.is_plain = self.is_plain & (self.at <= self.ends)
        np.minimum(self.at, self._last, out=self.at)

    def longs(self) -> Longs:
        """Read a whole number of each value."""
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
        """Pass over a length and so many bytes; return where these begin and end."""
        length = self.longs()
        self.is_plain = self.is_plain & (length >= 0)
        begin = self.at
        self.move(np.clip(length, 0, self._last))
        return begin.tolist(), np.where(self.is_plain, self.at, begin).tolist()

    def texts(self) -> list[str]:
        """Read a text of each value."""
        text = self._text
        found = [text[begin:end] for begin, end in zip(*self.counted(), strict=True)]
        if not "".join(found).isascii():
            self.is_plain = self.is_plain.copy()
            for position, latin in enumerate(found):
                if not latin.isascii():
                    found[position] = self._utf8(position, latin)
        return found

    def _utf8(self, position: int, latin: str) -> str:
        try:
            return latin.encode("latin-1").decode()
        except UnicodeDecodeError:
            self.is_plain[position] = False
            return ""


Step = Callable[[Cursor], Any]
"""Takes every value on by one field, and returns the field's column where it is wanted."""


class _TooRichError(Exception):
    """A type that is not read here."""


def _steps(type_: Any, path: Path, wanted: frozenset[Path]) -> list[tuple[Path, Step]]:
    """What reads a type, field by field, each with its path."""
    type_ = _bare(type_)
    if isinstance(type_, Mapping) and type_["type"] == "record":
        fields = type_["fields"]
        return [s for f in fields for s in _steps(f["type"], (*path, f["name"]), wanted)]
    if path in wanted:
        return [(path, _column(type_))]
    return [(path, _passing(type_))]


def _bare(type_: Any) -> Any:
    """Return a type without what says nothing of its bytes: ``{"type": "string", …}`` is a string.

    Raises
    ------
    _TooRichError
        If it makes other values of them.
    """
    while isinstance(type_, Mapping):
        if "logicalType" in type_:
            raise _TooRichError
        if isinstance(type_["type"], str) and type_["type"] not in (*FIXED_BYTES, *PASSING):
            break
        type_ = type_["type"]
    return type_


def _column(type_: Any) -> Callable[[Cursor], list[Any]]:
    if isinstance(type_, list) and len(type_) == 2 and "null" in type_:
        other = type_[1 - type_.index("null")]
        index, column = type_.index(other), _column(_bare(other))

        def step(cursor: Cursor) -> list[Any]:
            cursor.expect(index)
            return column(cursor)

        return step
    if type_ == "string":
        return Cursor.texts
    if type_ in ("int", "long"):
        return lambda cursor: cursor.longs().tolist()
    raise _TooRichError


def _passing(type_: Any) -> Step:
    if isinstance(type_, list):
        return _passing_one_of([_passing(_bare(branch)) for branch in type_])
    name = type_ if isinstance(type_, str) else type_["type"]
    if name in FIXED_BYTES:
        return lambda cursor: cursor.move(FIXED_BYTES[name])
    if name in ("array", "map"):
        return lambda cursor: cursor.expect(0)  # no item follows
    if name == "fixed":
        return lambda cursor: cursor.move(type_["size"])
    if name in PASSING:
        return PASSING[name]
    raise _TooRichError


PASSING: Mapping[str, Step] = {
    "int": Cursor.longs,
    "long": Cursor.longs,
    "string": Cursor.texts,  # has to be one, although nobody asks for it
    "bytes": Cursor.counted,
}


def _passing_one_of(branches: Sequence[Step]) -> Step:
    def step(cursor: Cursor) -> None:
        branch = cursor.longs()
        at, is_plain = cursor.at, cursor.is_plain
        ends, are_plain = at, np.zeros(len(at), np.bool_)
        for index, pass_over in enumerate(branches):
            if (chosen := branch == index).any():
                cursor.at, cursor.is_plain = at, is_plain
                pass_over(cursor)
                ends = np.where(chosen, cursor.at, ends)
                are_plain = np.where(chosen, cursor.is_plain, are_plain)
        cursor.at, cursor.is_plain = ends, are_plain

    return step
