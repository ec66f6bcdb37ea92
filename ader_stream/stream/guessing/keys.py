"""Which path is the session key: its clicks are near each other in the log, and stay together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ader_stream.stream.guessing.candidates import Candidate
from ader_stream.stream.guessing.columns import KEY, Column
from ader_stream.stream.guessing.words import DESCRIPTION, ITEM, SESSION, USER, suggests

LEAST_PRESENT = 0.5
LEAST_SCORE = 0.15

KEPT = 0.95
"""Share of the records of which something must hold to count as a rule."""


def key_candidates(
    columns: Sequence[Column], record_keys: Sequence[str | None], partitions: Sequence[int]
) -> Iterator[Candidate]:
    """Yield a candidate for each path whose values repeat."""
    for column in columns:
        if column.identified >= LEAST_PRESENT * len(column.values):
            places = _places(column.ids)
            if candidate := _candidate(column, places, record_keys, partitions):
                yield candidate


def _candidate(
    column: Column,
    places: Mapping[str, list[int]],
    record_keys: Sequence[str | None],
    partitions: Sequence[int],
) -> Candidate | None:
    repeated = [rows for rows in places.values() if len(rows) > 1]
    repeats = sum(map(len, repeated)) / column.identified
    equal, refines = _equals(column.ids, record_keys), _refines(column.ids, record_keys)
    if not repeated or (len(places) == 1 and not equal):
        return None
    near = _nearness(repeated, len(column.values))
    name = suggests(column.path, SESSION, USER) + min(0.0, suggests(column.path, DESCRIPTION))
    name -= max(0.0, suggests(column.path, ITEM))
    score = 0.5 * repeats * (0.2 + 0.8 * near) + 0.25 * name
    score += 0.35 if equal else 0.3 * refines
    score -= 0.02 * column.path.startswith((KEY, "%"))  # equal to a field of the value: take that
    score *= column.identified / len(column.values)
    together = _kept_together(column.ids, partitions)
    evidence = (
        f"{len(places):,} keys, {repeats:.0%} of the records have one that repeats, "
        f"{near:.0%} nearer in the log than by chance"
        f"{', equal to the record key' if equal else ''}"
        f"{'' if together == 1 else f', {1 - together:.0%} of the keys in several partitions'}"
    )
    return Candidate(column.path, score, evidence)


def _places(ids: Sequence[str | None]) -> dict[str, list[int]]:
    places = defaultdict[str, list[int]](list)
    for row, value in enumerate(ids):
        if value is not None:
            places[value].append(row)
    return places


def _nearness(repeated: Sequence[Sequence[int]], records: int) -> float:
    """Return 1 for keys whose records follow each other, 0 where they are spread by chance.

    g of n records in an order by chance span n·(g − 1)/(g + 1) of them.
    """
    spans = 0.0
    for rows in repeated:
        size = len(rows)
        nearest, by_chance = size - 1, records * (size - 1) / (size + 1)
        free = max(1.0, by_chance - nearest)
        spans += size * min(1.0, (rows[-1] - rows[0] - nearest) / free)
    return 1.0 - spans / sum(map(len, repeated))


def _equals(ids: Sequence[str | None], record_keys: Sequence[str | None]) -> bool:
    pairs = [(a, b) for a, b in zip(ids, record_keys, strict=True) if a is not None]
    return sum(a == b for a, b in pairs) >= KEPT * len(pairs)


def _refines(ids: Sequence[str | None], record_keys: Sequence[str | None]) -> bool:
    """Return whether each value has one record key, as a session has one user."""
    return len({*record_keys} - {None}) > 1 and _kept_together(ids, record_keys) >= KEPT


def _kept_together(ids: Sequence[str | None], groups: Sequence[object]) -> float:
    """Return the share of the values whose records are all in one group."""
    of_value = defaultdict[str, set[object]](set)
    for value, group in zip(ids, groups, strict=True):
        if value is not None:
            of_value[value].add(group)
    return sum(len(groups_) == 1 for groups_ in of_value.values()) / max(1, len(of_value))
