"""Decode single fields of many Avro records at once, by the writer's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ader_stream.stream.avro.columns import Cursor, Longs

Path = tuple[str, ...]
"""Names from the record's field to the one that is nested in it."""

FIXED_BYTES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


@dataclass(frozen=True)
class Columns:
    """Hold fields of many values.

    Parameters
    ----------
    fields
        A list for each field, in the order of the paths.
    left_out
        Positions of values that were not decoded; their entries in `fields` have no meaning.
    lengths
        Bytes of each value.
    """

    fields: list[list[Any]]
    left_out: list[int]
    lengths: Longs

    def longer_than(self, most: int) -> list[int]:
        """Return the positions of values of more bytes; there is rarely one."""
        found: list[int] = []
        if self.lengths.max() > most:
            found = np.flatnonzero(self.lengths > most).tolist()
        return found


ReadColumns = Callable[[Sequence[bytes]], Columns]


def columns_reader(schema: Any, paths: Sequence[Path]) -> ReadColumns | None:
    r"""Return a decoder of texts and whole numbers of many values; None if the schema is too rich.

    >>> fields = [{"name": "who", "type": "string"}, {"name": "at", "type": ["null", "long"]}]
    >>> schema = {"type": "record", "name": "Visit", "fields": fields}
    >>> read = columns_reader(schema, [("who",), ("at",)])
    >>> columns = read([b"\x04al\x02\x0e", b"\x04al\x00", b"\x04a"])
    >>> columns.fields[0][0], columns.fields[1][0], columns.left_out
    ('al', 7, [1, 2])
    """
    try:
        steps = _steps(schema, (), frozenset(paths))
    except _TooRichError:
        return None
    if not {*paths} <= {path for path, _ in steps}:
        return None

    def read(values: Sequence[bytes]) -> Columns:
        cursor = Cursor(values)
        found = {path: step(cursor) for path, step in steps}
        return Columns([found[path] for path in paths], cursor.left_out(), cursor.lengths)

    return read


Step = Callable[[Cursor], Any]
"""Decodes one field of every value; returns its column where the field is wanted."""


class _TooRichError(Exception):
    """A type that is not decoded here."""


def _steps(type_: Any, path: Path, wanted: frozenset[Path]) -> list[tuple[Path, Step]]:
    """Return the steps that decode a type, field by field, each with its path."""
    type_ = _bare(type_)
    if isinstance(type_, Mapping) and type_["type"] == "record":
        fields = type_["fields"]
        return [s for f in fields for s in _steps(f["type"], (*path, f["name"]), wanted)]
    if path in wanted:
        return [(path, _column(type_))]
    return [(path, _passing(type_))]


def _bare(type_: Any) -> Any:
    """Return a type without what does not affect its bytes: ``{"type": "string", …}`` is a string.

    Raises
    ------
    _TooRichError
        If a logical type makes other values of the bytes.
    """
    while isinstance(type_, Mapping):
        if "logicalType" in type_:
            raise _TooRichError
        if isinstance(type_["type"], str) and type_["type"] not in (*FIXED_BYTES, *PASSING):
            break
        type_ = type_["type"]
    return type_


def _column(type_: Any) -> Callable[[Cursor], list[Any]]:
    if isinstance(type_, list) and len(type_) == 2 and "null" in type_:
        other = type_[1 - type_.index("null")]
        index, column = type_.index(other), _column(_bare(other))

        def step(cursor: Cursor) -> list[Any]:
            cursor.expect(index)
            return column(cursor)

        return step
    if type_ == "string":
        return Cursor.texts
    if type_ in ("int", "long"):
        return lambda cursor: cursor.longs().tolist()
    raise _TooRichError


def _passing(type_: Any) -> Step:
    if isinstance(type_, list):
        return _passing_one_of([_passing(_bare(branch)) for branch in type_])
    name = type_ if isinstance(type_, str) else type_["type"]
    if name in FIXED_BYTES:
        return lambda cursor: cursor.move(FIXED_BYTES[name])
    if name in ("array", "map"):
        return lambda cursor: cursor.expect(0)  # no item follows
    if name == "fixed":
        return lambda cursor: cursor.move(type_["size"])
    if name in PASSING:
        return PASSING[name]
    raise _TooRichError


PASSING: Mapping[str, Step] = {
    "int": Cursor.longs,
    "long": Cursor.longs,
    "string": Cursor.texts,  # must be valid, although it is not wanted
    "bytes": Cursor.counted,
}


def _passing_one_of(branches: Sequence[Step]) -> Step:
    def step(cursor: Cursor) -> None:
        branch = cursor.longs()
        at, is_plain = cursor.at, cursor.is_plain
        ends, are_plain = at, np.zeros(len(at), np.bool_)
        for index, pass_over in enumerate(branches):
            if (chosen := branch == index).any():
                cursor.at, cursor.is_plain = at, is_plain
                pass_over(cursor)
                ends = np.where(chosen, cursor.at, ends)
                are_plain = np.where(chosen, cursor.is_plain, are_plain)
        cursor.at, cursor.is_plain = ends, are_plain

    return step
