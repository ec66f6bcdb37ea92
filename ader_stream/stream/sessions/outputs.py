"""Outputs of a partition: closed sessions, ended blocks, and decisions that are not in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ader_stream.stream.sessions.open.session import OpenSession


@dataclass(slots=True)
class BlockCounts:
    """Number of closed sessions of a block on one partition, of their clicks, and of late clicks.

    When the block ends, all of its sessions are closed.
    """

    clicks: int = 0
    sessions: int = 0
    late: int = 0


class BlockEnd(NamedTuple):
    """No session of this block, or of one before, follows on this partition."""

    block: int
    counts: BlockCounts


class IdleAdvance(NamedTuple):
    """The watermark (ms) followed other partitions' before the click at `next_offset`."""

    next_offset: int
    watermark: int


class ClockRefusal(NamedTuple):
    """The click at a place was ahead of the reader's clock, and became a dead letter."""

    offset: int
    element: int = 0


class WatermarkReset(NamedTuple):
    """An operator moved the watermark (ms) and the open block before the click at an offset."""

    next_offset: int
    watermark: int
    open_block: int


Output = OpenSession | BlockEnd | IdleAdvance | ClockRefusal
