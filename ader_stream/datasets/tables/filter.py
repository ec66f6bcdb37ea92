"""Decide which rows of a table are clicks, by the filter language of records in a topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from duckdb import DuckDBPyConnection
from duckdb.func import FunctionNullHandling

from ader_stream.datasets.tables.columns import Columns, Expression
from ader_stream.errors import DatasetError
from ader_stream.stream.clicks.language.filters import compile_filter, fields_in, parse_filter
from ader_stream.stream.clicks.language.paths import Path, paths_in, written_path

_NATIVE = ("VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN")


def filtered(
    connection: DuckDBPyConnection, columns: Columns, source: str, where: str
) -> tuple[str, int]:
    """Return a query of the rows that pass a filter, and the number of those that do not.

    The filter decides about every distinct combination of the values that it reads, in Python: the
    rules are those of ``clicks.where``, and a table has few kinds of events.

    Raises
    ------
    DatasetError
        The filter names a column that is missing.
    SettingsError
        The filter is malformed.
    """
    parsed = parse_filter(where)
    paths = list(dict.fromkeys(p for field in fields_in(parsed) for p in paths_in(field)))
    values = [_value(columns, path) for path in paths]
    keep = compile_filter(parsed)
    connection.create_function(
        "passes_filter",
        _row_test(paths, keep),
        [value.type for value in values],
        "BOOLEAN",
        null_handling=FunctionNullHandling.SPECIAL,
    )
    try:
        return _joined(connection, source, values)
    finally:
        connection.remove_function("passes_filter")


def _joined(
    connection: DuckDBPyConnection, source: str, values: Sequence[Expression]
) -> tuple[str, int]:
    names = [f'"$f{number}"' for number in range(len(values))]
    named = ", ".join(f"{value.sql} AS {name}" for value, name in zip(values, names, strict=True))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE kept AS "
        f"SELECT *, passes_filter({', '.join(names)}) AS keeps "
        f'FROM (SELECT {named}, count(*) AS "$rows" FROM ({source}) GROUP BY ALL)'
    )
    [(left_out,)] = connection.execute(
        'SELECT coalesce(sum("$rows"), 0) FROM kept WHERE NOT keeps'
    ).fetchall()
    same = " AND ".join(
        f"{value.sql} IS NOT DISTINCT FROM kept.{name}"
        for value, name in zip(values, names, strict=True)
    )
    query = f"SELECT rows.* FROM ({source}) AS rows JOIN kept ON kept.keeps AND {same}"
    return query, int(left_out)


def _value(columns: Columns, path: Path) -> Expression:
    found = columns.find_field(path)
    if found is None:
        raise DatasetError(
            f"no column {written_path(path)}, which the filter names; it has "
            f"{', '.join(columns.names)}"
        )
    if found.type in _NATIVE:
        return found
    if found.type.endswith("INT") or found.type.endswith("INTEGER"):
        return Expression(f"({found.sql})::BIGINT", "BIGINT")
    if found.type == "FLOAT" or found.type.startswith("DECIMAL"):
        return Expression(f"({found.sql})::DOUBLE", "DOUBLE")
    return Expression(found.text, "VARCHAR")


def _row_test(paths: Sequence[Path], keep: Callable[[Any], bool]) -> Callable[..., bool]:
    def passes(*values: object) -> bool:
        fields: dict[Any, Any] = {}
        for path, value in zip(paths, values, strict=True):
            *outer, last = path
            inner = fields
            for step in outer:
                inner = inner.setdefault(step, {})
            inner[last] = value
        return bool(keep(fields))

    return passes
