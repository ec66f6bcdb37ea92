"""Read records that hold many clicks: the elements of a list in each (`clicks.explode`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ader_stream.errors import ClickError, IgnoredError
from ader_stream.stream.clicks.fields import Fields, getter
from ader_stream.stream.clicks.formats.json_values import decode_inner_json
from ader_stream.stream.clicks.language.paths import Field, RecordPart

ELEMENTS_HEADER = "ader-elements"
"""Header of a record that was sent back: the positions of the elements that are to be read."""


MOST_ELEMENTS = 2_000
"""Largest `clicks.max_elements`, so that a dead letter can name all of them."""


class Element(NamedTuple):
    """Fields of a list's element, beside those of its record, and its position from 0."""

    position: int
    fields: Fields


def elements_reader(field: Field, name: str, most: int) -> Callable[[Fields], Iterator[Element]]:
    """Return a function that yields the elements of a record, in the order of the list.

    Parameters
    ----------
    field
        Path of the list; an object in place of a list is one element.
    name
        The path as the settings have it.
    most
        Most elements of a record.

    Raises
    ------
    ClickError
        If a record has no such list, or a longer one.
    IgnoredError
        If the list is empty or null.
    """
    get = getter(field)

    def read(record: Fields) -> Iterator[Element]:
        root = _root(record)
        elements = _list_of(get, {**record, RecordPart.RECORD: root}, name)
        if len(elements) > most:
            raise ClickError(
                "too-large",
                f"{name} has {len(elements)} elements; expected at most clicks.max_elements = "
                f"{most}: raise it, or write fewer clicks into a record",
            )
        parts = {part: record[part] for part in RecordPart if part in record}
        positions = _named_positions(record) or range(len(elements))
        for position in positions:
            if position >= len(elements):
                raise ClickError(
                    "bad-value",
                    f"header {ELEMENTS_HEADER} names element {position}; expected one of "
                    f"{len(elements)}, from 0",
                )
            own = {RecordPart.ELEMENT: elements[position], RecordPart.INDEX: position}
            fields = _fields_of(elements[position])
            yield Element(position, {**fields, **parts, RecordPart.RECORD: root, **own})

    return read


def header_of(positions: list[int]) -> tuple[str, bytes]:
    """Return the header of a record of which only some elements are to be read.

    >>> header_of([0, 12])
    ('ader-elements', b'0,12')
    """
    return ELEMENTS_HEADER, ",".join(map(str, positions)).encode()


def _root(record: Fields) -> Any:
    """Return the value of a record: a list, or its fields."""
    return record.get(RecordPart.RECORD, record)


def _list_of(get: Callable[[Fields], Any], fields: Fields, name: str) -> list[Any]:
    try:
        found = _parsed(get(fields))
    except (KeyError, TypeError):
        found_names = sorted(field for field in fields if isinstance(field, str))
        raise ClickError(
            "missing-field",
            f"no list {name!r} (clicks.explode); found: "
            f"{', '.join(f'{field!r:.50}' for field in found_names[:10]) or 'none'}",
        ) from None
    if isinstance(found, Mapping):
        return [found]
    if found is None or found == []:
        raise IgnoredError("empty")
    if not isinstance(found, list):
        raise ClickError("bad-value", f"{name} = {found!r:.100}: expected a list")
    return found


def _fields_of(element: Any) -> Mapping[Any, Any]:
    fields = _parsed(element)
    return fields if isinstance(fields, Mapping) else {}


def _parsed(value: Any) -> Any:
    """Return what a text that holds JSON holds, or the value itself."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return decode_inner_json(value)
    except ValueError:
        return value


def _named_positions(record: Fields) -> list[int]:
    """Return the positions that a header names; empty for all."""
    named = record[RecordPart.HEADERS].get(ELEMENTS_HEADER)
    if named is None:
        return []
    positions = str(named).split(",")
    if not all(position.isdecimal() and len(position) < 6 for position in positions):
        raise ClickError(
            "bad-value",
            f"header {ELEMENTS_HEADER} = {named!r:.100}: expected positions such as 0,12",
        )
    return sorted(set(map(int, positions)))
