"""Choose the sessions of a trial: the last blocks, and those before to start from."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from duckdb import DuckDBPyConnection

from ader_stream.datasets.block_sessions import block_sessions
from ader_stream.types import Click

Sessions = list[tuple[str, ...]]

TESTED = 3
"""Blocks that are predicted: enough to see whether the order of the methods stays."""

STARTING = 2
"""Blocks that the first version is trained on."""


MOST_READ = 2_000_000
"""Clicks of the last blocks in memory, some 400 MB; of more, those of a share of the keys."""


class TrialBlocks(NamedTuple):
    """Sessions of the blocks: the one to start from, and those that are predicted in turn.

    Parameters
    ----------
    sessions
        Block 0 is `STARTING` blocks in one.
    share
        Share of the sessions in these blocks that is used.
    """

    sessions: list[Sessions]
    share: float

    @property
    def clicks(self) -> int:
        """Return the number of clicks."""
        return sum(len(one) for block in self.sessions for one in block)


def last_blocks(blocks: Sequence[Sessions]) -> list[Sessions]:
    """Return the last `TESTED` blocks, and before them `STARTING` in one.

    >>> len(last_blocks([[("a",)]] * 9)), len(last_blocks([[("a",)]] * 9)[0])
    (4, 2)
    """
    tested = min(TESTED, len(blocks) - 1)
    start, rest = blocks[: len(blocks) - tested], blocks[len(blocks) - tested :]
    merged = [session for block in start[-STARTING:] for session in block]
    return [merged, *rest]


def thinned(blocks: Sequence[Sessions], clicks: int, seed: int) -> TrialBlocks:
    """Draw sessions at random, in their order, so that about so many clicks are left.

    >>> thinned([[("a", "b")] * 100], clicks=50, seed=0).share
    0.25
    """
    whole = TrialBlocks(list(blocks), 1.0)
    share = min(1.0, clicks / max(whole.clicks, 1))
    if share == 1.0:
        return whole
    draw = random.Random(seed)  # noqa: S311 - no secret
    drawn = [[one for one in block if draw.random() < share] for block in blocks]
    return TrialBlocks(drawn, share)


def sessions_of(clicks: Iterable[Click], gap: int) -> Sessions:
    """Cut clicks, in time order, into sessions in the order of their last click."""
    cut = sorted(block_sessions(clicks, gap), key=lambda one: (one.times[-1], one.key))
    return [session.items for session in cut]


def recent_blocks(connection: DuckDBPyConnection, gap: int, length: int) -> list[Sessions]:
    """Return the sessions of the last whole blocks, oldest first; of many clicks, those of a share.

    Parameters
    ----------
    connection
        Has the table `clicks` (session, item, time).
    gap, length
        Session gap and length of a block, ms.
    """
    [(last,)] = connection.execute("SELECT max(time) FROM clicks").fetchall()
    end = last // length * length  # the last block is not complete
    start = end - (TESTED + STARTING) * length
    [(clicks,)] = connection.execute(
        "SELECT count(*) FROM clicks WHERE time >= ? AND time < ?", [start, end]
    ).fetchall()
    every = -(-clicks // MOST_READ) or 1
    rows = connection.execute(
        "SELECT session, item, time FROM clicks WHERE time >= ? AND time < ? "
        "AND hash(session) % ? = 0 ORDER BY rowid",
        [start, end, every],
    ).fetchall()
    blocks: dict[int, list[Click]] = {}
    for key, item, at in rows:
        blocks.setdefault(at // length, []).append(Click(key, item, at))
    return [sessions_of(blocks[number], gap) for number in sorted(blocks)]
