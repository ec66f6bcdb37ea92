"""Which path is the item: it changes within a visit, and returns in others."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ader_stream.stream.guessing.candidates import Candidate
from ader_stream.stream.guessing.columns import Column
from ader_stream.stream.guessing.visits import Visit
from ader_stream.stream.guessing.words import (
    DESCRIPTION,
    ITEM,
    KIND,
    LATER,
    SESSION,
    TIME,
    USER,
    suggests,
)

RICH = 30
"""Different values with which a catalogue is told from a kind of event."""

PRESENT = 0.2
"""Share of the records with a value from which on more do not count."""

LEAST_SCORE = 0.1


def item_candidates(columns: Sequence[Column], visits: Sequence[Visit]) -> Iterator[Candidate]:
    """Yield a candidate for each path whose values change within a visit."""
    for column in columns:
        if column.identified and column.distinct > 1:
            changes, shared = _changes(column, visits), _shared(column, visits)
            if changes:
                yield _candidate(column, changes, shared)


def _candidate(column: Column, changes: float, shared: float) -> Candidate:
    rich = min(1.0, math.log(column.distinct) / math.log(RICH))
    name = suggests(column.path, ITEM) + 0.5 * min(0.0, suggests(column.path, DESCRIPTION, LATER))
    name -= 0.5 * max(0.0, suggests(column.path, SESSION, USER, TIME))
    name -= 0.3 * max(0.0, suggests(column.path, KIND))
    score = 0.6 * changes * (0.15 + 0.85 * shared) * rich + 0.4 * name
    score *= min(1.0, column.identified / len(column.values) / PRESENT)
    evidence = (
        f"{column.distinct:,} values in {column.identified:,} records; {changes:.0%} change within "
        f"a visit, {shared:.0%} return in another visit"
    )
    return Candidate(column.path, score, evidence)


def _changes(column: Column, visits: Sequence[Visit]) -> float:
    """Return the share of a visit's records whose value is new in it, the first one left out."""
    changed = possible = 0
    for rows in visits:
        values = [value for row in rows if (value := column.ids[row]) is not None]
        if len(values) > 1:
            changed += len({*values}) - 1
            possible += len(values) - 1
    return changed / possible if possible else 0.0


def _shared(column: Column, visits: Sequence[Visit]) -> float:
    """Return the share of the records whose value is in another visit, too."""
    visits_of, records = defaultdict[str, set[int]](set), defaultdict[str, int](int)
    for number, rows in enumerate(visits):
        for row in rows:
            if (value := column.ids[row]) is not None:
                visits_of[value].add(number)
                records[value] += 1
    all_ = sum(records.values())
    return sum(records[v] for v, seen in visits_of.items() if len(seen) > 1) / all_ if all_ else 0.0
