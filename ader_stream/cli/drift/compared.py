"""Compare one block with another one, by the thresholds of the blocks before."""

from __future__ import annotations

from collections.abc import Mapping

from ader_stream.cli.drift.output import BlockReport
from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.history import KEPT
from ader_stream.drift.report import history_of, measure, report
from ader_stream.errors import InputError

Blocks = Mapping[int, BlockStatistics]
"""Statistics by number of the block."""


def compare_two(blocks: Blocks, block: int | None, against: int) -> BlockReport:
    """Report a block (by default the last) against another one, and the items of that one.

    Thresholds come from what the blocks before it differed by, each from the one before.
    """
    current = last_of(blocks) if block is None else block
    require_blocks(blocks, current, against)
    statistics, reference = blocks[current], blocks[against]
    measured = measure(statistics, reference, reference.items.weights())
    before = [blocks[number] for number in sorted(blocks) if number < current]
    found = report(measured, history_of(before[-KEPT - 1 :]))
    return BlockReport.of(current, statistics, f"against block {against}", found)


def last_of(blocks: Blocks) -> int:
    """Return the last block's number; raise InputError if there is none."""
    if not blocks:
        raise InputError("there is no complete block yet; wait for one, or name a data set")
    return max(blocks)


def require_blocks(blocks: Mapping[int, object], *numbers: int) -> None:
    """Raise InputError if one of the blocks is not there."""
    for number in numbers:
        if number not in blocks:
            there = f"{min(blocks)} to {max(blocks)}" if blocks else "none"
            raise InputError(f"there is no block {number} to compare; there are: {there}")
