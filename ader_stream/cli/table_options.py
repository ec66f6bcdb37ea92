"""Options for data sets in tables: where session, item and time are, and how they are written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ader_stream.datasets import TableLayout, layout_for
from ader_stream.datasets.tables.layout import preset_names
from ader_stream.plausible_times import UNITS_PER_SECOND
from ader_stream.settings import Settings, load_settings

Command = Callable[..., Any]

_UNITS = click.Choice(list(UNITS_PER_SECOND))

_OPTIONS = {
    "session": click.option(
        "--session-column",
        metavar="COLUMN",
        help="Tables: column of the session or user, by its name or number; also a path as "
        "user.id, sid | uid, a + b, or $row for a session a row.",
    ),
    "item": click.option("--item-column", metavar="COLUMN", help="Tables: column of the item."),
    "time": click.option(
        "--time-column",
        metavar="COLUMN",
        help="Tables: column of the event time; $row if only the order is known.",
    ),
    "time_unit": click.option(
        "--time-unit", type=_UNITS, help="Tables: unit of numeric times; by default ms."
    ),
    "time_format": click.option(
        "--time-format",
        metavar="FORMAT",
        help="Tables: form of times that are not recognised, '%m/%d/%Y %I:%M:%S %p' say.",
    ),
    "time_offset": click.option(
        "--time-offset", metavar="COLUMN", help="Tables: column of a number to add to the time."
    ),
    "offset_unit": click.option(
        "--offset-unit", type=_UNITS, help="Tables: unit of --time-offset; by default ms."
    ),
    "where": click.option(
        "--where",
        metavar="FILTER",
        help="Tables: which rows are clicks, as clicks.where: 'event == \"view\"' say.",
    ),
    "explode": click.option(
        "--explode", metavar="COLUMN", help="Tables: column of a list whose elements are clicks."
    ),
    "item_pattern": click.option(
        "--item-pattern",
        metavar="REGEX",
        help="Tables: every match in a cell is an item; its first group, if it has one.",
    ),
    "header": click.option(
        "--header/--no-header",
        default=None,
        help="CSV: whether the first line has the names of the columns; by default it has.",
    ),
    "delimiter": click.option(
        "--delimiter", help="CSV: what is between two fields; by default found in the first line."
    ),
    "quote": click.option("--quote", help="CSV: quotation mark; '' for none."),
    "encoding": click.option("--encoding", help="CSV, JSON: encoding, if it is not UTF-8."),
    "files": click.option(
        "--files", metavar="PATTERN", help="Folders: names of the tables, '*clicks*.csv' say."
    ),
    "equal_blocks": click.option(
        "--equal-blocks",
        type=click.IntRange(1),
        help="Tables: number of blocks with equally many clicks, where only the order is known, "
        "and in evaluate.",
    ),
}
"""Field of `TableLayout` → its option."""


def dataset_option(meaning: str = "{}.", *, required: bool = False) -> Callable[[Command], Command]:
    """Return the option ``--dataset``; ``{}`` in its meaning is what it may name."""
    named = "Folder of period_N.txt[.gz], or tables: CSV, JSON, Parquet"
    path = click.Path(path_type=Path)
    return click.option("--dataset", type=path, required=required, help=meaning.format(named))


def table_options(command: Command) -> Command:
    """Add the options of tables; the command gets `table` instead, and `settings`.

    What is not given comes from ``dataset.toml`` beside the data, and from ``--preset``. With
    clicks.check_times = false, any time is accepted.
    """

    @click.option(
        "--preset", type=click.Choice(preset_names()), help="Tables: a published data set's layout."
    )
    @click.option(
        "--any-time",
        is_flag=True,
        help="Tables: also accept times before 2000, in the future, or all equal.",
    )
    @functools.wraps(command)
    def with_table(
        *,
        preset: str | None,
        any_time: bool,
        settings: Settings | None = None,
        dataset: Path | None,
        **arguments: object,
    ) -> object:
        settings = settings or load_settings()
        given = {field: arguments.pop(_parameter(field)) for field in _OPTIONS}
        given["any_time"] = any_time or not settings.clicks.check_times or None
        table = layout_for(dataset, preset or "", **given) if dataset else TableLayout()
        return command(table=table, settings=settings, dataset=dataset, **arguments)

    for add in reversed(_OPTIONS.values()):
        with_table = add(with_table)
    return with_table


def _parameter(field: str) -> str:
    return f"{field}_column" if field in ("session", "item", "time") else field
