"""What a partition puts out: closed sessions, ended blocks, and what the log does not decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ader_stream.stream.sessions.open.session import OpenSession


@dataclass(slots=True)
class BlockCounts:
    """Sessions of a block that have closed on one partition, their clicks, the late ones of them.

    When the block ends, its sessions are closed: then these are all.
    """

    clicks: int = 0
    sessions: int = 0
    late: int = 0


class BlockEnd(NamedTuple):
    """Nothing of this block, or of one before, follows on this partition."""

    block: int
    counts: BlockCounts


class IdleAdvance(NamedTuple):
    """The watermark (ms) has followed other partitions' before the click at `next_offset`."""

    next_offset: int
    watermark: int


class ClockRefusal(NamedTuple):
    """The click at an offset was ahead of the reader's clock, and became a dead letter."""

    offset: int


class WatermarkReset(NamedTuple):
    """An operator has moved the watermark (ms) and the open block before the click at an offset."""

    next_offset: int
    watermark: int
    open_block: int


Output = OpenSession | BlockEnd | IdleAdvance | ClockRefusal
