"""Return the SQL that reads a file, each row with its number."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from duckdb import DuckDBPyConnection

from ader_stream.datasets.tables.files import JSON_SUFFIXES, PARQUET_SUFFIXES, table_suffix
from ader_stream.datasets.tables.layout import TableLayout
from ader_stream.errors import DatasetError

_TABS = (".tsv", ".tab", ".inter")
_DELIMITERS = (",", ";", "\t", "|", "::")
_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}

_LONGEST_LINE = 16 << 20
"""Bytes of a line or a JSON object: a session a line has thousands of clicks."""

_NO_DELIMITER = "\x01"
"""A character that no first line has, so that it is read as one column."""


def quoted_text(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def source_of(connection: DuckDBPyConnection, file: Path, layout: TableLayout) -> str:
    """Return a query of a file: its columns, and `n`, the number of the row from 1, in file order.

    CSV columns are texts as they are written: an item ``007`` or ``NA`` is not changed.

    Raises
    ------
    DatasetError
        A CSV file is empty.
    duckdb.Error
        The file cannot be read.
    """
    suffix = table_suffix(file.name)
    path = quoted_text(str(file))
    compression = _COMPRESSION.get(file.suffix.lower(), "none")
    if suffix in PARQUET_SUFFIXES:
        call = f"read_parquet({path}, binary_as_string = true, hive_partitioning = true)"
    elif suffix in JSON_SUFFIXES:
        call = (
            f"read_json({path}, compression = '{compression}', sample_size = -1, "
            f"maximum_object_size = {_LONGEST_LINE}, hive_partitioning = true)"
        )
    else:
        call = _csv_call(connection, file, compression, layout)
    return f'SELECT *, row_number() OVER () AS "$n" FROM {call}'


def _csv_call(
    connection: DuckDBPyConnection, file: Path, compression: str, layout: TableLayout
) -> str:
    first = _first_line(connection, file, compression)
    delimiter = layout.delimiter or _delimiter(first, table_suffix(file.name), layout.quote)
    names = _column_names(first, delimiter, layout)
    columns = ", ".join(f"{quoted_text(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv({quoted_text(str(file))}, columns = {{{columns}}}, auto_detect = false, "
        f"header = {layout.header}, delim = {quoted_text(delimiter)}, "
        f"quote = {quoted_text(layout.quote)}, escape = {quoted_text(layout.quote)}, "
        f"compression = '{compression}', max_line_size = {_LONGEST_LINE}, "
        f"buffer_size = {2 * _LONGEST_LINE}, hive_partitioning = true)"
    )


def _first_line(connection: DuckDBPyConnection, file: Path, compression: str) -> str:
    query = (
        f"SELECT * FROM read_csv({quoted_text(str(file))}, columns = {{'line': 'VARCHAR'}}, "
        f"auto_detect = false, header = false, delim = '{_NO_DELIMITER}', quote = '', escape = '', "
        f"compression = '{compression}', max_line_size = {_LONGEST_LINE}, "
        f"buffer_size = {2 * _LONGEST_LINE}) LIMIT 1"
    )
    rows = connection.execute(query).fetchall()
    if not rows or not rows[0][0]:
        raise DatasetError(f"{file}: cannot be read: is empty; expected a click a row")
    return str(rows[0][0]).removeprefix("\ufeff")


def _delimiter(first: str, suffix: str, quote: str) -> str:
    """Return the most frequent of the usual delimiters outside quotes; a comma if there is none."""
    if suffix in _TABS:
        return "\t"
    outside = "".join(first.split(quote)[::2]) if quote else first
    return max(_DELIMITERS, key=outside.count)


def _column_names(first: str, delimiter: str, layout: TableLayout) -> Sequence[str]:
    """Return distinct names, in the order of the columns; numbers from 1 without a header."""
    if len(delimiter) > 1:
        cells = first.split(delimiter)
    else:
        quote = layout.quote or _NO_DELIMITER
        cells = next(csv.reader(StringIO(first), delimiter=delimiter, quotechar=quote))
    if not layout.header:
        return [str(number) for number in range(1, len(cells) + 1)]
    names: dict[str, None] = {}
    for number, cell in enumerate(cells, start=1):
        lower = {name.lower() for name in names}
        names[cell if cell and cell.lower() not in lower else f"{cell}#{number}"] = None
    return list(names)
