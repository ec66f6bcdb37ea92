"""``ader-stream try``: answer whether continual training would work on a data set."""

from __future__ import annotations

from pathlib import Path

import click

from ader_stream.cli.extras import require
from ader_stream.cli.table_options import dataset_option, table_options
from ader_stream.datasets import TableLayout
from ader_stream.settings import Settings


@click.command("try")
@dataset_option(required=True)
@click.option(
    "--minutes",
    type=click.FloatRange(min=1),
    default=12.0,
    show_default=True,
    help="Time for the training; with less, fewer sessions are sampled.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("try.md"),
    show_default=True,
    help="The page, as Markdown; it is also printed.",
)
@table_options
def try_(dataset: Path, minutes: float, out: Path, table: TableLayout, settings: Settings) -> None:
    """Answer on one page, in minutes, whether continual training would work on a data set."""
    require("torch", "duckdb")
    from ader_stream.cli.trial.run import run  # noqa: PLC0415 - loads both

    run(dataset, minutes, out, table, settings)
