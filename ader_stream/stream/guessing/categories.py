"""Which records are clicks: kinds of events without an item, or after a click on the same item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ader_stream.stream.guessing.columns import Column
from ader_stream.stream.guessing.visits import Visit
from ader_stream.stream.guessing.words import KIND, NOT_VIEWED, VIEWED, suggests, words_in

MOST_KINDS = 30
LONGEST = 60
"""Characters of a kind of event; longer texts are none."""

WITHOUT_ITEM = 0.1
"""A kind of event that has an item less often is no click."""

REPEATING = 0.6
SELDOM_REPEATING = 0.3
"""Share of the records whose item is that of the record before: a cart follows the view."""

FEWEST = 5


@dataclass(frozen=True)
class Kind:
    """A value of a path with few values.

    Parameters
    ----------
    value
        None stands for an absent one.
    records
        Number of them.
    with_item, repeating
        Share that has an item, and that has the item of the record before it in the visit.
    reason
        Why it is no click; empty if it is one.
    """

    value: str | None
    records: int
    with_item: float
    repeating: float
    reason: str = ""


@dataclass(frozen=True)
class KindFilter:
    """A filter by the kinds of one path.

    Parameters
    ----------
    where
        As `clicks.where` has it.
    kinds
        All kinds of the path.
    excluded
        Number of records that are no clicks.
    name
        What the path's name suggests.
    """

    path: str
    where: str
    kinds: tuple[Kind, ...]
    excluded: int
    name: float


def kind_filters(
    columns: Sequence[Column], item: Column, visits: Sequence[Visit]
) -> list[KindFilter]:
    """Return the filters that leave something out, those that leave out most first."""
    repeats = _repeats(item, visits)
    found = [filter_ for column in columns if (filter_ := _filter(column, item, repeats))]
    return sorted(found, key=lambda one: (-one.excluded, -one.name, len(one.kinds)))


def _filter(column: Column, item: Column, repeats: Sequence[bool]) -> KindFilter | None:
    values = Counter(column.ids)
    few = 1 < len(values) <= MOST_KINDS and column.identified
    if not few or column is item or any(len(value or "") > LONGEST for value in values):
        return None
    if any(type(value) not in (str, bool, type(None)) for value in column.values):
        return None
    kinds = _judged([*_kinds(column, item, repeats)])
    kept = [kind for kind in kinds if not kind.reason]
    excluded = sum(kind.records for kind in kinds if kind.reason)
    if not kept or not excluded or any(kind.value is None for kind in kept):
        return None
    name = suggests(column.path, KIND)
    return KindFilter(column.path, _where(column.path, kept), tuple(kinds), excluded, name)


def _kinds(column: Column, item: Column, repeats: Sequence[bool]) -> Iterator[Kind]:
    records, items, again = Counter[str | None](), Counter[str | None](), Counter[str | None]()
    for value, item_, repeat in zip(column.ids, item.ids, repeats, strict=True):
        records[value] += 1
        items[value] += item_ is not None
        again[value] += repeat
    for value, count in records.most_common():
        yield Kind(value, count, items[value] / count, again[value] / max(1, items[value]))


def _judged(kinds: Sequence[Kind]) -> list[Kind]:
    fresh = any(
        kind.repeating <= SELDOM_REPEATING and kind.with_item > WITHOUT_ITEM for kind in kinds
    )
    viewed = any(_says(kind, VIEWED) and kind.with_item > WITHOUT_ITEM for kind in kinds)
    return [
        Kind(
            *(kind.value, kind.records, kind.with_item, kind.repeating),
            _reason(kind, fresh, viewed),
        )
        for kind in kinds
    ]


def _reason(kind: Kind, fresh: bool, viewed: bool) -> str:
    if kind.with_item < WITHOUT_ITEM:
        return "no item"
    if _says(kind, VIEWED) and not _says(kind, NOT_VIEWED):
        return ""
    if fresh and kind.records >= FEWEST and kind.repeating >= REPEATING:
        return f"{kind.repeating:.0%} have the item of the record before"
    return "by its name, another kind is the view" if viewed and _says(kind, NOT_VIEWED) else ""


def _says(kind: Kind, words: frozenset[str]) -> bool:
    return not words.isdisjoint(words_in(kind.value or ""))


def _where(path: str, kept: Sequence[Kind]) -> str:
    values = [f'"{_escaped(kind.value or "")}"' for kind in kept]
    return f"{path} == {values[0]}" if len(values) == 1 else f"{path} in ({', '.join(values)})"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _repeats(item: Column, visits: Sequence[Visit]) -> list[bool]:
    """Return by record whether the record before it in its visit has the same item."""
    repeats = [False] * len(item.values)
    for rows in visits:
        for before, after in pairwise([row for row in rows if item.ids[row] is not None]):
            repeats[after] = item.ids[before] == item.ids[after]
    return repeats
