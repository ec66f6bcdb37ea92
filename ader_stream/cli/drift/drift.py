"""``ader-stream drift``: report what has changed from block to block."""

from __future__ import annotations

from pathlib import Path

import click

from ader_stream.cli.drift.compared import compare_two, require_blocks
from ader_stream.cli.drift.from_dataset import count_dataset, report_each
from ader_stream.cli.drift.output import BlockReport, print_overview, print_report
from ader_stream.cli.options import connect, json_option, kafka_options
from ader_stream.cli.table_options import dataset_option, table_options
from ader_stream.datasets import TableLayout, open_dataset
from ader_stream.settings import Settings
from ader_stream.stream.topics.topics import check_topics

ACT = 3
"""Exit code if a signal of the reported block says *act*."""


@click.command()
@click.option("--block", type=click.IntRange(0), help="Block to report; by default the last.")
@click.option("--against", type=click.IntRange(0), help="Compare it with this block alone.")
@dataset_option("Report every block of a data set instead, without Kafka. {}.")
@json_option
@kafka_options
@table_options
@click.pass_context
def drift(
    context: click.Context,
    /,
    block: int | None,
    against: int | None,
    dataset: Path | None,
    as_json: bool,
    table: TableLayout,
    settings: Settings,
) -> None:
    """Report what has changed: each signal is fine, watch, act, or has insufficient data.

    Exits with 3 if a signal of the last reported block says act, else with 0.
    """
    if dataset is None:
        found = [_from_topics(settings, block, against)]
    else:
        found = _from_dataset(settings, dataset, table, block, against)
    if dataset and block is None and against is None:
        print_overview(found, as_json=as_json)
    else:
        print_report(found[-1], as_json=as_json)
    if found and found[-1].report.state == "act":
        context.exit(ACT)


def _from_dataset(
    settings: Settings, path: Path, table: TableLayout, block: int | None, against: int | None
) -> list[BlockReport]:
    gap = settings.sessions.gap
    blocks = count_dataset(open_dataset(path, settings.block_rule, gap, table), gap)
    if against is not None:
        return [compare_two(dict(blocks), block, against)]
    found = list(report_each(blocks))
    if block is None:
        return found
    require_blocks({one.block: one for one in found}, block)
    return [one for one in found if one.block == block]


def _from_topics(settings: Settings, block: int | None, against: int | None) -> BlockReport:
    # Imported late: item names need safetensors, which is an extra.
    from ader_stream.cli.drift.from_topics import TopicBlocks, TopicReport  # noqa: PLC0415

    connect(settings, "drift")
    partitions = check_topics(settings.clients.admin(), settings.topics)
    blocks = TopicBlocks(partitions, until=block).read(settings)
    if against is not None:
        return compare_two(blocks, block, against)
    return TopicReport(settings, blocks).of(block)
