"""``ader-stream evaluate``: run the paper's protocol on a data set, without Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ader_stream.cli.evaluation.request import DEVICES, METHODS, RECIPES, Request
from ader_stream.cli.table_options import dataset_option, table_options
from ader_stream.settings import Settings, load_settings


def _read_overrides(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> dict[str, float | str]:
    """Read every ``NAME=VALUE``, as a number if possible."""
    overrides: dict[str, float | str] = {}
    for given in values:
        name, is_pair, value = given.partition("=")
        if not is_pair:
            raise click.BadParameter(f"{given!r}: expected NAME=VALUE, max_epochs=3 say")
        try:
            overrides[name] = float(value)
        except ValueError:
            overrides[name] = value
    return overrides


@click.command()
@dataset_option(required=True)
@click.option(
    "--block-length",
    metavar="DURATION",
    help="Tables: length of a block, 7d say; by default blocks.length.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="ader",
    show_default=True,
    help="ADER, or one of the paper's baselines and ablations.",
)
@click.option(
    "--recipe",
    type=click.Choice(RECIPES),
    default="paper",
    show_default=True,
    help="Set of hyper-parameters; production is what the trainer runs.",
)
@click.option(
    "--override",
    "overrides",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_read_overrides,
    help="A hyper-parameter that differs from the recipe's; may be repeated.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Device; auto is a GPU if torch finds one, else the CPU.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of all random numbers.",
)
@click.option(
    "--cycles",
    type=click.IntRange(min=1),
    show_default="one for every period after the first",
    help="Update cycles; cycle t trains on period t - 1 and is tested on period t.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue after the last cycle in --out; its state is in OUT.state.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="JSON file, replaced after every cycle.",
)
@click.option(
    "--details",
    "with_details",
    is_flag=True,
    help="Also test every version on all earlier blocks (forgetting), and report the top 20's "
    "diversity and coverage: takes about as long as the tests of all cycles so far.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the paper's figure: this run over the published curves, after every cycle.",
)
@table_options
def evaluate(block_length: str | None, settings: Settings, **options: Any) -> None:
    """Train and test cycle after cycle, as in the paper; no Kafka is needed."""
    from ader_stream.cli.evaluation.run import run  # noqa: PLC0415 - loads torch

    rule = settings.block_rule
    if block_length:
        rule = load_settings(blocks={"length": block_length}).block_rule
    run(Request(rule=rule, gap=settings.sessions.gap, **options))
