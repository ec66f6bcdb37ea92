"""Options for data sets in tables: the names of the columns, and how they are written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from ader_stream.datasets import TableFormat
from ader_stream.plausible_times import UNITS_PER_SECOND
from ader_stream.settings import Settings

Command = Callable[..., Any]

_OPTIONS = (
    click.option("--session-column", help="CSV, Parquet: column of the session or user."),
    click.option("--item-column", help="CSV, Parquet: column of the item."),
    click.option("--time-column", help="CSV, Parquet: column of the event time."),
    click.option(
        "--time-unit",
        type=click.Choice(list(UNITS_PER_SECOND)),
        help="CSV, Parquet: unit of numeric times; by default ms.",
    ),
    click.option("--delimiter", help="CSV: character between two fields; by default a comma."),
    click.option(
        "--any-time",
        is_flag=True,
        help="CSV, Parquet: also accept times before 2000, in the future, or all equal.",
    ),
)


def table_options(command: Command) -> Command:
    """Add the options of tables, below `kafka_options`; the command gets `table` instead.

    With clicks.check_times = false, any time is accepted.
    """

    @functools.wraps(command)
    def with_table(
        *,
        session_column: str | None,
        item_column: str | None,
        time_column: str | None,
        time_unit: str | None,
        delimiter: str | None,
        any_time: bool,
        settings: Settings,
        **arguments: object,
    ) -> object:
        columns = {"session": session_column, "item": item_column, "time": time_column}
        given = columns | {"time_unit": time_unit, "delimiter": delimiter}
        table = TableFormat(
            **{name: value for name, value in given.items() if value},
            any_time=any_time or not settings.clicks.check_times,
        )
        return command(table=table, settings=settings, **arguments)

    for add in reversed(_OPTIONS):
        with_table = add(with_table)
    return with_table
