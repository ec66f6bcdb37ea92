"""Cut the records of a sample into visits by a key, a time and a gap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from ader_stream.types import MINUTE_MS

USUAL_GAP_MS = 30 * MINUTE_MS
"""The convention of web analytics."""

GAPS_MS = tuple(MINUTE_MS * minutes for minutes in (30, 60, 120, 240, 720))
"""A key with pauses beyond the last one is a visitor's, who comes again."""

FEW = 0.1
"""A key with a larger share of pauses beyond the usual gap is a visitor's, too."""

RARE = 0.01
"""Share of the pauses that a session key's gap may cut."""

Visit = list[int]
"""Rows of a visit's records, in order of time."""


def rows_by_key(keys: Sequence[str | None], times: Sequence[int | None]) -> list[Visit]:
    """Return the rows of each key that have a time, in order of time."""
    rows = defaultdict[str, list[tuple[int, int]]](list)
    for row, (key, time) in enumerate(zip(keys, times, strict=True)):
        if key is not None and time is not None:
            rows[key].append((time, row))
    return [[row for _, row in sorted(of_key)] for of_key in rows.values()]


def cut_visits(of_keys: Sequence[Visit], times: Sequence[int | None], gap: int) -> list[Visit]:
    """Cut the rows of each key where a pause is longer than the gap."""
    visits: list[Visit] = []
    for rows in of_keys:
        visits.append(rows[:1])
        for before, after in pairwise(rows):
            if (times[after] or 0) - (times[before] or 0) > gap:
                visits.append([])
            visits[-1].append(after)
    return visits


def suggest_gap(of_keys: Sequence[Visit], times: Sequence[int | None]) -> tuple[int, str]:
    """Return a gap, ms, and the evidence for it.

    A session's key is used once: its gap is longer than nearly all pauses within a key. A visitor's
    key has pauses of any length, and gets the usual gap.
    """
    pauses = sorted(
        (times[after] or 0) - (times[before] or 0)
        for rows in of_keys
        for before, after in pairwise(rows)
    )
    if not pauses:
        return USUAL_GAP_MS, "no key has two clicks"
    usual = sum(pause <= USUAL_GAP_MS for pause in pauses) / len(pauses)
    evidence = f"{usual:.0%} of {len(pauses):,} pauses within a key are 30 minutes at most"
    if 1 - usual > FEW or pauses[-1] > GAPS_MS[-1]:
        return USUAL_GAP_MS, f"{evidence}: it seems to be a visitor's key, used for several visits"
    enough = [gap for gap in GAPS_MS if sum(pause > gap for pause in pauses) <= RARE * len(pauses)]
    return (enough or [USUAL_GAP_MS])[0], evidence
