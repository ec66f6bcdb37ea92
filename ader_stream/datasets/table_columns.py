"""Convert the columns of a table: keys to strings, times to milliseconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ader_stream.plausible_times import UNITS_PER_SECOND
from ader_stream.types import SECOND_MS

END_OF_TIME_MS = 253_402_300_800_000
"""The year 10000: a later time was read in the wrong unit."""

Numbers = np.ndarray[tuple[int, ...], np.dtype[Any]]

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
_ZONE = re.compile(r"(Z|:[\d.]+[-+]\d\d(:?\d\d)?)$")  # ``…05Z``, ``…:05.123+02:00``


class RowError(Exception):
    """A row with a missing or invalid value.

    Parameters
    ----------
    row
        Number of the row, from 0.
    problem
        The value, and what was expected.
    """

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row


def parse_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return session or item ids: strings unchanged, whole numbers as their decimal string.

    Raises
    ------
    RowError
        A value is missing, or the column has another type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type) and not pa.types.is_integer(column.type):
        raise RowError(0, f"a {column.type}: expected strings or whole numbers as session and item")
    texts = column.cast(pa.large_string())
    missing = pc.index(pc.fill_null(pc.equal(texts, ""), True), True).as_py()
    if missing >= 0:
        raise RowError(missing, "no session or no item; expected a value in every row")
    return texts


def has_unit(column: pa.ChunkedArray) -> bool:
    """Return whether times are numbers, or texts of numbers, so that they need a unit."""
    if _is_text(column.type):
        return bool(_NUMBER.fullmatch(_first_text(column)))
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def parse_times(column: pa.ChunkedArray, unit: str) -> pa.Array:
    """Return times as ms, int64, from timestamps, numbers in `unit`, or strings of either.

    Raises
    ------
    RowError
        A value is missing, cannot be read, or is before 1970 or after 9999.
    """
    missing = pc.index(column.is_null(), True).as_py()
    if missing >= 0:
        raise RowError(missing, "no time; expected a value in every row")
    return pa.array(_in_range(_milliseconds(column, unit), column))


def _milliseconds(column: pa.ChunkedArray, unit: str) -> Numbers:
    if _is_text(column.type):
        column = _parse_strings(column)
    if pa.types.is_timestamp(column.type):
        unit = column.type.unit
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise RowError(0, f"a {column.type}: expected numbers, timestamps or ISO 8601 as time")
    if not pa.types.is_floating(column.type):
        column = column.cast(pa.int64())
    return _scaled(column.to_numpy(), UNITS_PER_SECOND[unit])


def _scaled(values: Numbers, per_second: int) -> Numbers:
    """Convert units of 1 / `per_second` s to ms; whole numbers stay exact."""
    if values.dtype.kind == "f":
        scaled = np.rint(values / per_second * SECOND_MS)
    elif per_second >= SECOND_MS:
        scaled = values // (per_second // SECOND_MS)
    else:
        # Clipped to values that are also out of range, so that the product cannot overflow.
        scaled = np.clip(values, -1, END_OF_TIME_MS // SECOND_MS) * SECOND_MS
    return scaled


def _in_range(times: Numbers, column: pa.ChunkedArray) -> Numbers:
    is_good = (times >= 0) & (times < END_OF_TIME_MS)  # False for nan, too
    if not is_good.all():
        row = int(np.argmin(is_good))
        raise RowError(
            row,
            f"time {column[row].as_py()!r}: expected one between 1970 and 9999; is the time unit "
            "right?",
        )
    return times.astype(np.int64)


def _parse_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Parse numbers or ISO 8601, whichever the first row has."""
    first = _first_text(column)
    if _NUMBER.fullmatch(first):
        return _cast_all(column, (pa.int64(), pa.float64()), "a number")
    zone = "UTC" if _ZONE.search(first) else None
    expected = "ISO 8601 with a zone" if zone else "ISO 8601 without a zone"
    return _cast_all(column, (pa.timestamp("ns", zone),), f"{expected}, or a number")


def _first_text(column: pa.ChunkedArray) -> str:
    return (column[0].as_py() or "") if len(column) else "0"


def _cast_all(
    column: pa.ChunkedArray, types: tuple[pa.DataType, ...], expected: str
) -> pa.ChunkedArray:
    """Cast the column to the first of the types that accepts every row."""
    for type_ in types:
        if _casts(column, type_):
            return column.cast(type_)
    row = _first_refused(column, lambda part: _casts(part, types[-1]))
    raise RowError(row, f"time {column[row].as_py()!r}: expected {expected}, as in the first row")


def _first_refused(column: pa.ChunkedArray, takes: Callable[[pa.ChunkedArray], bool]) -> int:
    """Return the row of the first value that `takes` refuses, by bisection; there must be one."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        if takes(column.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low


def _casts(column: pa.ChunkedArray, type_: pa.DataType) -> bool:
    try:
        column.cast(type_)
    except pa.ArrowInvalid:
        return False
    return True


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))
