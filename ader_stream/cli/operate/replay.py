"""``ader-stream replay``: write a data set into the clicks topic."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import click

from ader_stream.cli.options import connect, json_option, kafka_options
from ader_stream.cli.table_options import dataset_option, table_options
from ader_stream.datasets import Extent, TableLayout, open_dataset, read_through
from ader_stream.errors import SettingsError
from ader_stream.plausible_times import EARLIEST_MS, describe_time
from ader_stream.settings import Settings
from ader_stream.stream.control.rules_log import blocks_in_force
from ader_stream.stream.operations.replay import Replayer, wait_until_served
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.topics.topics import check_topics


@click.command()
@dataset_option(required=True)
@click.option(
    "--pace", type=click.Choice(["block"]), help="Wait at each block end until its version serves."
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Clicks a second.")
@click.option("--blocks", type=click.IntRange(1), help="Blocks to replay; by default all.")
@json_option
@kafka_options
@table_options
def replay(
    dataset: Path,
    pace: str | None,
    rate: float | None,
    blocks: int | None,
    as_json: bool,
    table: TableLayout,
    settings: Settings,
) -> None:
    """Write a data set's clicks, and a heartbeat to every partition at every block end."""
    if pace and settings.blocks.min_sessions > 1:
        raise SettingsError(
            f"blocks.min_sessions = {settings.blocks.min_sessions}: a block that is joined to the "
            "next is never served alone, and --pace block would wait for ever; set it to 1"
        )
    clicks = open_dataset(dataset, settings.block_rule, settings.sessions.gap, table)
    extent = read_through(clicks, blocks)  # unreadable data raise here, before a click is sent
    connect(settings, "replay --pace block" if pace else "replay")
    clients, topics = settings.clients, settings.topics
    check_topics(clients.admin(), topics)
    blocks_now = blocks_in_force(clients, topics, settings.block_rule)
    if blocks_now.changes:
        clicks = open_dataset(dataset, blocks_now, settings.sessions.gap, table)
    _show_extent(extent, as_json=as_json)
    if not table.any_time:
        _warn_of_early_blocks(extent)
    replayer = Replayer(clients, topics, blocks_now, settings.click_format, rate)
    view = SystemView(clients, topics, whole=False)
    for block, of_block in islice(clicks.blocks(), blocks):
        replayer.send(of_block)
        replayer.end_block(block)
        _say(as_json, block=block, clicks=len(of_block), clicks_sent=replayer.clicks_sent)
        if pace:
            wait_until_served(view, block, lambda: None)
    view.close()


def _show_extent(extent: Extent, *, as_json: bool) -> None:
    first, last = describe_time(extent.first_time), describe_time(extent.last_time)
    fields = {"clicks": extent.clicks, "first_time": first, "last_time": last}
    text = f"{extent.clicks:,} clicks, event times from {first} to {last}"
    click.echo(json.dumps(fields) if as_json else text)


def _warn_of_early_blocks(extent: Extent) -> None:
    """Warn of generated times before 2000; tables with such times were refused before."""
    if extent.first_time < EARLIEST_MS:
        click.echo(
            "ader-stream: warning: the data set has no times: they start at "
            f"blocks.origin, {describe_time(extent.first_time)}; workers accept them with "
            "clicks.check_times = false, or set blocks.origin to a date after 2000",
            err=True,
        )


def _say(as_json: bool, **fields: int) -> None:
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    click.echo(json.dumps(fields) if as_json else text)
    sys.stdout.flush()
