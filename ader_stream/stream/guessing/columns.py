"""Every path of a sample, with the value that each record has there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from ader_stream.errors import ClickError, SettingsError
from ader_stream.stream.clicks.fields import is_absent, text
from ader_stream.stream.clicks.formats.json_values import decode_json
from ader_stream.stream.clicks.language.paths import RecordPart, parse_field
from ader_stream.stream.kafka.records import written_at_of
from ader_stream.stream.kafka.sampling import SampledRecord

MOST_LEAVES = 1_000
"""Values of a record that are looked at."""

MOST_COLUMNS = 400
"""Paths that are compared: those that most records have."""

DEEPEST = 8
"""Levels of objects within objects."""

KEY = str(RecordPart.KEY.value)
TIMESTAMP = str(RecordPart.TIMESTAMP.value)

_SPECIAL = re.compile(r"[\s\\.|+()\[\],=!<>\"']")


@dataclass(frozen=True)
class Column:
    """A path, and the value of each record there; None where it is absent.

    Parameters
    ----------
    path
        As settings name it.
    values
        By record, in the order of the log.
    """

    path: str
    values: tuple[Any, ...]

    @cached_property
    def ids(self) -> tuple[str | None, ...]:
        """Return the values as ids; None where they are absent or no ids."""
        return tuple(map(_as_id, self.values))

    @cached_property
    def present(self) -> int:
        """Return the number of records that have a value."""
        return sum(value is not None for value in self.values)

    @cached_property
    def identified(self) -> int:
        """Return the number of records that have an id."""
        return sum(value is not None for value in self.ids)

    @cached_property
    def distinct(self) -> int:
        """Return the number of different ids."""
        return len({*self.ids} - {None})


@dataclass(frozen=True)
class Columns:
    """The columns of a sample.

    Parameters
    ----------
    by_path
        In the order of their first appearance.
    left_out
        Number of paths that were not compared.
    cut
        Number of records of which only `MOST_LEAVES` values were looked at.
    lists
        Paths of lists with several objects: each of them may be a click.
    unnamed
        Number of names that no path can have.
    """

    by_path: Mapping[str, Column]
    left_out: int = 0
    cut: int = 0
    lists: tuple[str, ...] = ()
    unnamed: int = 0


@dataclass(frozen=True)
class _Seen:
    """What was seen beside the values: lists of objects, and names that no path can have."""

    lists: dict[str, None] = field(default_factory=dict)
    unnamed: set[str] = field(default_factory=set)


def read_columns(records: Sequence[SampledRecord], fields: Sequence[Mapping[str, Any]]) -> Columns:
    """Return the columns of records and their values."""
    rows, seen, cut = [], _Seen(), 0
    for record, value in zip(records, fields, strict=True):
        row: dict[str, Any] = {}
        for path, leaf in _leaves(record, value, seen):
            if len(row) >= MOST_LEAVES:
                cut += 1
                break
            row[path] = leaf
        rows.append(row)
    counts = dict[str, int]()
    for row in rows:
        for path in row:
            counts[path] = counts.get(path, 0) + 1
    kept = sorted(counts, key=lambda path: -counts[path])[:MOST_COLUMNS]
    columns = {path: Column(path, tuple(row.get(path) for row in rows)) for path in kept}
    return Columns(columns, len(counts) - len(kept), cut, tuple(seen.lists), len(seen.unnamed))


def _leaves(
    record: SampledRecord, value: Mapping[str, Any], seen: _Seen
) -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything in a record that may be a field of a click."""
    yield from _within(value, "", 0, seen)
    for name, header in record.headers():
        path = _written(f"%{name}")
        if name and path and (decoded := _decoded(header)):
            yield path, decoded
    yield from _key(record.key(), seen)
    if (timestamp := written_at_of(record)) is not None:
        yield TIMESTAMP, timestamp


def _key(key: bytes | None, seen: _Seen) -> Iterator[tuple[str, Any]]:
    decoded = _decoded(key)
    if decoded is None:
        return
    inner = _inner(decoded)
    if type(inner) is dict:
        yield from _within(inner, KEY, 1, seen)
    else:
        yield KEY, decoded


def _within(value: Any, path: str, depth: int, seen: _Seen) -> Iterator[tuple[str, Any]]:
    """Yield what is below a value: of a list, what its first object holds."""
    inner = _inner(value)
    if depth > DEEPEST:
        return
    if isinstance(inner, Mapping):
        for name, child in inner.items():
            step = _written(name, inside=bool(path)) if isinstance(name, str) else ""
            if step:
                yield from _within(child, f"{path}.{step}" if path else step, depth + 1, seen)
            else:
                seen.unnamed.add(str(name))
    elif type(inner) is list and path:
        if len(inner) > 1 and all(type(child) is dict for child in inner):
            seen.lists[path] = None
        if inner and type(inner[0]) is dict:
            yield from _within(inner[0], f"{path}.0", depth + 1, seen)
        elif _are_numbers(inner):  # a time, as Java writes it
            yield path, inner
    elif path and not is_absent(value):
        yield path, value


def _are_numbers(values: list[Any]) -> bool:
    return 3 <= len(values) <= 7 and all(type(value) is int for value in values)


def _inner(value: Any) -> Any:
    """Return the value of a text that holds a JSON object or list, or the value itself."""
    if type(value) is str and value[:1] in ("{", "["):
        try:
            return decode_json(value)
        except ValueError:
            return value
    return value


@lru_cache(maxsize=10_000)
def _written(name: str, *, inside: bool = False) -> str:
    r"""Return a name as a path has it; empty if no path can name it.

    >>> _written("a.b c"), _written("$key")
    ('a\\.b\\ c', '\\$key')
    """
    if not name:
        return ""
    written = _SPECIAL.sub(lambda match: "\\" + match[0], name)
    if not inside and name[0] == "$":
        written = "\\" + written
    try:
        parse_field(written)
    except SettingsError:
        return ""
    return written


def _decoded(value: bytes | str | None) -> str | None:
    if type(value) is str:
        return value or None
    try:
        decoded = bytes(value or b"").decode()  # type: ignore[arg-type]
    except UnicodeDecodeError:
        return None
    return decoded if decoded.isprintable() else None


def _as_id(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return text("", value)
    except ClickError:
        return None
