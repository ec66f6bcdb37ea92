"""Read one file into rows of session, item and time."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from ader_stream.datasets.tables.columns import Columns, Expression, exploded
from ader_stream.datasets.tables.filter import filtered
from ader_stream.datasets.tables.layout import TableLayout
from ader_stream.datasets.tables.skipped import Skipped
from ader_stream.datasets.tables.sources import quoted_text, source_of
from ader_stream.datasets.tables.times import TimeReader, number_to_ms, time_reader
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.plausible_times import UNITS_PER_SECOND, is_absurd
from ader_stream.types import SECOND_MS

CREATE_ROWS = """
CREATE TABLE rows (
    file INTEGER, number BIGINT, place BIGINT,
    session VARCHAR, item VARCHAR, time BIGINT,
    written VARCHAR  -- a time that cannot be read
)
"""

NEVER_MS = 4_102_444_800_000
"""2100-01-01: a time before it may be right in another unit."""

_LARGEST_WHOLE = 2**53
"""A larger double may be another whole number than the one that was written."""


class FileRead(NamedTuple):
    """What was read of a file.

    Parameters
    ----------
    skipped
        Rows that are left out.
    unit
        Unit in which times were read; empty if they need none.
    """

    skipped: Skipped
    unit: str


def read_file(
    connection: DuckDBPyConnection, file: Path, number: int, layout: TableLayout
) -> FileRead:
    """Add the clicks of a file to the table `rows`.

    Raises
    ------
    DatasetError
        Names the file, and columns or row: it cannot be read, a column is missing, or a time or an
        id has no valid form.
    """
    try:
        return _FileReader(connection, file, number, layout).read()
    except (DatasetError, SettingsError) as error:
        shown = str(error)
        raise type(error)(shown if shown.startswith(str(file)) else f"{file}: {shown}") from None
    except duckdb.Error as error:
        raise DatasetError(f"{file}: cannot be read: {_reason(error)}") from None


class _FileReader:
    def __init__(
        self, connection: DuckDBPyConnection, file: Path, number: int, layout: TableLayout
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._file = number
        source = f'SELECT *, {number} AS "$file" FROM ({source_of(connection, file, layout)})'
        if layout.explode:
            found = Columns(connection, source).require({"list": layout.explode})
            self._source = exploded(source, found["list"])
        else:
            self._source = f'SELECT *, 0 AS "$place" FROM ({source})'
        self._columns = Columns(connection, self._source)

    def read(self) -> FileRead:
        skipped = Skipped()
        found = self._columns.require(self._paths())
        query = self._source
        if where := self._layout.where:
            query, skipped["filter"] = filtered(self._connection, self._columns, query, where)
        unit = self._insert(_cells(query, found, self._layout.item_pattern))
        skipped.update(self._missing())
        return FileRead(skipped, unit)

    def _paths(self) -> dict[str, str]:
        layout = self._layout
        paths = {"session": layout.session, "item": layout.item}
        if not layout.has_order_only:
            paths["time"] = layout.time
        if layout.time_offset:
            paths["offset"] = layout.time_offset
        return paths

    def _insert(self, cells: str) -> str:
        """Insert every row that passes the filter, and return the unit of its times."""
        columns = Columns(self._connection, cells)
        named = columns.require({"session": "session", "item": "item"})
        reader = self._times(cells, columns)
        written = columns.find("time")
        self._connection.execute(
            f"INSERT INTO rows SELECT {self._file}, number, place, {id_sql(named['session'])}, "
            f"{id_sql(named['item'])}, {reader.sql} AS ms, "
            f"CASE WHEN ms IS NULL THEN {written.text if written else 'NULL'} END FROM ({cells})"
        )
        self._require_readable(reader)
        return reader.unit

    def _times(self, cells: str, columns: Columns) -> TimeReader:
        time, offset = columns.find("time"), columns.find("offset")
        if time is None:
            return TimeReader("0", "")
        query = f"SELECT {time.text} AS it FROM ({cells}) WHERE it IS NOT NULL LIMIT 1"
        first = self._connection.execute(query).fetchall()
        reader = time_reader(time, first[0][0] if first else None, self._layout)
        if offset is None:
            return reader
        milliseconds = number_to_ms(offset, self._layout.offset_unit)
        return reader._replace(sql=f"({reader.sql} + {milliseconds})::BIGINT")

    def _require_readable(self, reader: TimeReader) -> None:
        wrong = self._connection.execute(
            "SELECT number, written FROM rows WHERE file = ? AND written IS NOT NULL "
            "ORDER BY number, place LIMIT 1",
            [self._file],
        ).fetchall()
        for row, written in wrong:
            raise DatasetError(
                f"row {row}: time {written!r}: expected {reader.expected}; "
                f"{_time_remedy(written, reader.unit)}"
            )

    def _missing(self) -> dict[str, int]:
        [counts] = self._connection.execute(
            "SELECT count(*) FILTER (session IS NULL), "
            "count(*) FILTER (session IS NOT NULL AND item IS NULL), "
            "count(*) FILTER (session IS NOT NULL AND item IS NOT NULL AND time IS NULL) "
            "FROM rows WHERE file = ?",
            [self._file],
        ).fetchall()
        return dict(zip(("no session", "no item", "no time"), counts, strict=True))


def _cells(query: str, found: dict[str, Expression], pattern: str) -> str:
    """Return a query of session, item, time and offset, a click a row; lists become rows."""
    if pattern:
        group = min(re.compile(pattern).groups, 1)
        sql = f"regexp_extract_all({found['item'].text}, {quoted_text(pattern)}, {group})"
        found = found | {"item": Expression(sql, "VARCHAR[]")}
    is_list = found["item"].is_list
    cells = ", ".join(
        f"unnest({one.sql}) AS {name}" if is_list and one.is_list else f"{one.sql} AS {name}"
        for name, one in found.items()
    )
    place = f"generate_subscripts({found['item'].sql}, 1)" if is_list else '"$place"'
    return f'SELECT "$n" AS number, {place} AS place, {cells} FROM ({query})'


def id_sql(value: Expression) -> str:
    """Return SQL of an id as text: texts unchanged, whole numbers as their decimal text.

    Raises
    ------
    DatasetError
        The type can be no id.
    """
    if value.type in ("DOUBLE", "FLOAT") or value.type.startswith("DECIMAL"):
        is_whole = f"{value.sql} = trunc({value.sql}) AND abs({value.sql}) <= {_LARGEST_WHOLE}"
        if value.type.startswith("DECIMAL"):
            is_whole = f"{value.sql} = trunc({value.sql})"
        problem = quoted_text("expected whole numbers or texts as session and item, found ")
        return (
            f"CASE WHEN {value.sql} IS NULL THEN NULL WHEN {is_whole} "
            f"THEN ({value.sql})::HUGEINT::VARCHAR ELSE error({problem} || {value.sql}) END"
        )
    if value.type == "BLOB":
        return f"nullif(decode({value.sql}), '')"
    is_other = value.type.startswith(("STRUCT", "MAP", "BOOLEAN")) or value.is_list
    if is_other:
        remedy = "; name times in lists, too, or --explode" if value.is_list else ""
        raise DatasetError(
            f"a {value.type}: expected texts or whole numbers as session and item{remedy}"
        )
    return value.text


def _reason(error: duckdb.Error) -> str:
    """Return the first lines of an error that say what is wrong, without those of its settings."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = next((n for n, line in enumerate(lines) if not line), len(lines))
    encoding = "; name its encoding with --encoding" if "not utf-8" in str(error) else ""
    return " ".join(lines[:text])[:500] + encoding


def _time_remedy(written: str, unit: str) -> str:
    with suppress(ValueError, OverflowError):
        value = float(written)
        for other, per_second in UNITS_PER_SECOND.items():
            if (
                unit
                and other != unit
                and not is_absurd(int(value / per_second * SECOND_MS), NEVER_MS)
            ):
                return f"use --time-unit {other}"
    return "is the time unit right, or has it another form (--time-format)?"
