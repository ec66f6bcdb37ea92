"""Translate the paths of a layout to SQL expressions over the columns of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from ader_stream.datasets.tables.layout import ROW
from ader_stream.datasets.tables.sources import quoted_name, quoted_text
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.stream.clicks.language.paths import (
    Field,
    FirstOf,
    ItemWith,
    Joined,
    Path,
    RecordPart,
    parse_field,
    written_path,
)

ELEMENT = "$element"
"""Column of the exploded list's element."""

TEXT_TYPES = ("VARCHAR", "JSON")


@dataclass(frozen=True, slots=True)
class Expression:
    """An SQL expression and the type of its values."""

    sql: str
    type: str

    @property
    def is_list(self) -> bool:
        """Return whether each value is a list."""
        return self.type.endswith("]")

    @property
    def text(self) -> str:
        """Return the SQL of the value as text; null for an empty one."""
        if self.type == "VARCHAR":
            return f"nullif({self.sql}, '')"
        if self.type == "JSON":
            return f"nullif({self.sql} ->> '$', '')"
        return f"({self.sql})::VARCHAR"


class Columns:
    """The columns of a file.

    Parameters
    ----------
    connection
        Where the file is open.
    source
        Query of the file; its columns have `$n`, the number of the row.
    """

    def __init__(self, connection: DuckDBPyConnection, source: str) -> None:
        self._connection = connection
        self._source = source
        self._types = self._describe("*")

    @property
    def names(self) -> list[str]:
        """Return the names of the columns in the file."""
        return [name for name in self._types if not name.startswith("$")]

    def find(self, written: str) -> Expression | None:
        """Return the expression of a path; None if the file has no such column.

        Raises
        ------
        SettingsError
            The path is malformed, or cannot be used in a table.
        """
        if written == ROW:
            return Expression("'row-' || \"$file\" || '-' || \"$n\"", "VARCHAR")
        if written in self._types:
            return self._typed(quoted_name(written))
        return self.find_field(parse_field(written))

    def find_field(self, field: Field) -> Expression | None:
        """Return the expression of a parsed path; None if the file has no such column."""
        if isinstance(field, FirstOf):
            return self._first_of(field)
        if isinstance(field, Joined):
            return self._joined(field)
        return self._path(field)

    def require(self, paths: Mapping[str, str]) -> dict[str, Expression]:
        """Return the expressions of paths, by their purpose.

        Raises
        ------
        DatasetError
            Some are missing; names the columns that there are.
        """
        found = {purpose: self.find(path) for purpose, path in paths.items()}
        missing = [paths[purpose] for purpose, expression in found.items() if expression is None]
        if missing:
            names = ", ".join(repr(name) if name != name.strip() else name for name in self.names)
            raise DatasetError(
                f"no column {', '.join(dict.fromkeys(missing))}; it has {names}; name the columns "
                "of session (or user), item and time, a preset, or $row for a session or an order "
                "by rows"
            )
        return {purpose: expression for purpose, expression in found.items() if expression}

    def _first_of(self, field: FirstOf) -> Expression | None:
        found = [option for option in map(self.find_field, field.options) if option]
        if not found:
            return None
        if len(found) == 1 or found[0].is_list:
            return found[0]
        return Expression(f"coalesce({', '.join(one.text for one in found)})", "VARCHAR")

    def _joined(self, field: Joined) -> Expression | None:
        parts = [self.find_field(part) for part in field.parts]
        if None in parts:
            return None
        return Expression(" || ':' || ".join(part.text for part in parts if part), "VARCHAR")

    def _path(self, path: Path) -> Expression | None:
        first, *others = path
        if first == ROW:
            return self.find(ROW)
        if isinstance(first, RecordPart | ItemWith):
            raise SettingsError(f"{written_path(path)}: is of records in a topic, not of tables")
        found = self._column(first)
        for step in others:
            if found is None:
                return None
            found = self._step(found, step)
        return found

    def _column(self, name: str) -> Expression | None:
        if name in self._fields_of(ELEMENT):
            return self._typed(f"struct_extract({quoted_name(ELEMENT)}, {quoted_text(name)})")
        if name in self._types:
            return self._typed(quoted_name(name))
        if name.isdecimal() and 1 <= int(name) <= len(self.names):
            return self._typed(quoted_name(self.names[int(name) - 1]))
        return None

    def _step(self, value: Expression, step: object) -> Expression | None:
        name = str(step)
        if isinstance(step, ItemWith | RecordPart):
            raise SettingsError(f"{step}: is of records in a topic, not of tables")
        if value.is_list:
            return self._typed(f"list_extract({value.sql}, {int(name) + (int(name) >= 0)})")
        if value.type.startswith("STRUCT"):
            return self._typed(f"struct_extract({value.sql}, {quoted_text(name)})")
        if value.type.startswith("MAP"):
            return self._typed(f"({value.sql})[{quoted_text(name)}]")
        if value.type in TEXT_TYPES:
            place = quoted_text(f'$."{name}"')
            return Expression(f"json_extract_string({value.sql}, {place})", "VARCHAR")
        return None

    def _fields_of(self, column: str) -> set[str]:
        if not self._types.get(column, "").startswith("STRUCT"):
            return set()
        return set(self._describe(f"unnest({quoted_name(column)})"))

    def _typed(self, sql: str) -> Expression:
        [type_] = self._describe(f"{sql} AS it").values()
        return Expression(sql, type_)

    def _describe(self, what: str) -> dict[str, str]:
        query = f"DESCRIBE SELECT {what} FROM ({self._source}) LIMIT 0"
        return {name: type_ for name, type_, *_ in self._connection.execute(query).fetchall()}


def exploded(source: str, list_: Expression) -> str:
    """Return a query with a row for each element of a list; `$place` is its number in the list."""
    return (
        f'SELECT *, unnest({list_.sql}) AS "{ELEMENT}", '
        f'generate_subscripts({list_.sql}, 1) AS "$place" FROM ({source})'
    )
