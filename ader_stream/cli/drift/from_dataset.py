"""Report the drift of a data set, block by block, without Kafka."""

from __future__ import annotations

from collections.abc import Iterator

from ader_stream.cli.drift.output import BlockReport
from ader_stream.datasets import Dataset
from ader_stream.datasets.block_sessions import block_sessions
from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.history import History
from ader_stream.drift.report import measure, report
from ader_stream.errors import InputError


def count_dataset(dataset: Dataset, gap: int) -> Iterator[tuple[int, BlockStatistics]]:
    """Yield every block's number and statistics; one block's clicks are in memory at a time."""
    for number, clicks in dataset.blocks():
        statistics = BlockStatistics()
        statistics.add_sessions(list(block_sessions(clicks, gap)))
        yield number, statistics


def report_each(blocks: Iterator[tuple[int, BlockStatistics]]) -> Iterator[BlockReport]:
    """Report each block but the first against the one before it, and all items so far."""
    history, known = History(), set[str]()
    before: tuple[int, BlockStatistics] | None = None
    for number, statistics in blocks:
        if before:
            measured = measure(statistics, before[1], known)
            found = report(measured, history)
            yield BlockReport.of(number, statistics, f"against block {before[0]}", found)
            history.append(measured)
        known |= statistics.items.weights().keys()
        before = number, statistics
    if before is None:
        raise InputError("the data set has no block; expected two or more")
