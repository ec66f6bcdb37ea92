"""Survey the clicks of a data set: keys, pauses, sessions by length of block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from duckdb import DuckDBPyConnection

from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS

GAPS = (15 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS, 2 * HOUR_MS, 4 * HOUR_MS, DAY_MS)
LENGTHS = (HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS, 28 * DAY_MS)
"""Values that are suggested; those of `sessions.gap` and `blocks.length`."""

USUAL_GAP = 30 * MINUTE_MS
"""The pause after which web analytics count a new visit."""

FEW_CUT = 0.01
"""Share of keys that a gap may cut where keys are sessions."""

SESSIONS_NOT_USERS = 0.1
"""Where the usual gap cuts more than this share of the keys, they are users or devices."""

SAMPLED_CLICKS = 2_000_000
"""Clicks of the keys that pauses are measured on; more would take minutes."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the clicks are like; times in ms.

    Parameters
    ----------
    clicks, keys, items
        Numbers of all.
    first_time, last_time
        Of the clicks.
    cut
        Gap → share of keys with a longer pause.
    gap
        The gap that is suggested.
    sessions
        Length of block → median number of sessions with two clicks or more in a whole block.
    whole_blocks
        Length of block → number of blocks that the clicks cover.
    """

    clicks: int
    keys: int
    items: int
    first_time: int
    last_time: int
    cut: Mapping[int, float] = field(default_factory=dict)
    gap: int = USUAL_GAP
    sessions: Mapping[int, float] = field(default_factory=dict)
    whole_blocks: Mapping[int, int] = field(default_factory=dict)

    @property
    def keys_are_sessions(self) -> bool:
        """Return whether few keys have a pause that is longer than the usual gap."""
        return self.cut[USUAL_GAP] <= SESSIONS_NOT_USERS


def survey(connection: DuckDBPyConnection) -> Survey:
    """Survey the table `clicks` (session, item, time)."""
    clicks, keys, items, first, last = _row(
        connection,
        "SELECT count(*), approx_count_distinct(session), approx_count_distinct(item), "
        "min(time), max(time) FROM clicks",
    )
    every = -(-clicks // SAMPLED_CLICKS)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE pauses AS SELECT session, time, time - lag(time) OVER "
        "(PARTITION BY session ORDER BY time) AS pause FROM clicks "
        f"WHERE hash(session) % {every} = 0"
    )
    cut = {gap: _share_cut(connection, gap) for gap in GAPS}
    gap = _suggested_gap(cut)
    _cut_sessions(connection, gap)
    spans = {length: last // length - first // length - 1 for length in LENGTHS}
    sessions = {
        length: _median_sessions(connection, length, first, last) * every
        for length, blocks in spans.items()
        if blocks > 0
    }
    return Survey(clicks, keys, items, first, last, cut, gap, sessions, spans)


def _share_cut(connection: DuckDBPyConnection, gap: int) -> float:
    query = (
        f"SELECT avg((longest > {gap})::DOUBLE) FROM (SELECT coalesce(max(pause), 0) AS longest "
        "FROM pauses GROUP BY session)"
    )
    return float(_row(connection, query)[0])


def _suggested_gap(cut: Mapping[int, float]) -> int:
    """Return a gap that leaves sessions whole, or the usual one where keys are users."""
    if cut[USUAL_GAP] > SESSIONS_NOT_USERS:
        return USUAL_GAP
    return next((gap for gap in GAPS if gap >= USUAL_GAP and cut[gap] <= FEW_CUT), GAPS[-1])


def _cut_sessions(connection: DuckDBPyConnection, gap: int) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE visits AS SELECT min(time) AS start, count(*) AS clicks FROM "
        f"(SELECT session, time, count(*) FILTER (pause > {gap}) OVER "
        "(PARTITION BY session ORDER BY time) AS visit FROM pauses) GROUP BY session, visit"
    )


def _median_sessions(connection: DuckDBPyConnection, length: int, first: int, last: int) -> float:
    """Return the median over the whole blocks; the first and the last one are cut off."""
    query = (
        "SELECT median(n) FROM (SELECT count(*) FILTER (clicks > 1) AS n FROM visits "
        f"WHERE start // {length} > {first // length} AND start // {length} < {last // length} "
        f"GROUP BY start // {length})"
    )
    return float(_row(connection, query)[0] or 0)


def _row(connection: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    [row] = connection.execute(query).fetchall()
    return row
