"""How the user's click records are decoded, as the settings say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import NamedTuple

from ader_stream.errors import SettingsError
from ader_stream.stream.clicks.language.filters import Filter, fields_in, parse_filter
from ader_stream.stream.clicks.language.paths import (
    OF_ELEMENTS,
    Field,
    FirstOf,
    Joined,
    Path,
    RecordPart,
    parse_field,
    parts_in,
    paths_in,
    with_index,
    written_path,
)
from ader_stream.stream.schema_registry.client import RegistryAccess


@dataclass(frozen=True)
class ClickFormat:
    """How the user's click records are decoded.

    Parameters
    ----------
    encoding
        ``json``, ``avro`` or ``avro-registry`` (with the schema registry's five-byte header).
    session, item, time, event_id, extra
        Paths of the fields: see `ader_stream.stream.clicks.language.paths`.
    time_format
        ``ms``, ``s``, ``us``, ``ns`` or ``iso8601``.
    avro_schema
        File of the writer's schema; our own Click without it.
    registry
        Schema registry with the writers' schemas by their ids.
    max_bytes
        Most bytes of the stored fields of a click: key, item id, event id, extra fields.
    where
        Filter of the records that are clicks; empty for all. See
        `ader_stream.stream.clicks.language.filters`.
    ignore_keys
        Session keys whose records are ignored; an empty text stands for an absent key.
    key_format
        How `$key` is decoded: one of `KEY_FORMATS`, or ``avro-registry``.
    explode
        Path of a list of which each element is a click; empty: a record is a click. See
        `ader_stream.stream.clicks.elements`.
    max_elements
        Most elements of such a list.
    """

    encoding: str = "json"
    session: str = "session"
    item: str = "item"
    time: str = "time"
    event_id: str = ""
    extra: tuple[str, ...] = ()
    time_format: str = "ms"
    avro_schema: FilePath | None = None
    registry: RegistryAccess | None = None
    max_bytes: int = 64 * 1024
    where: str = ""
    ignore_keys: tuple[str, ...] = ()
    key_format: str = "text"
    explode: str = ""
    max_elements: int = 1_000

    @cached_property
    def fields(self) -> ClickFields:
        """Return where the fields of a click are.

        Raises
        ------
        SettingsError
            If a name is no path.
        """
        event_id = parse_field(self.event_id) if self.event_id else None
        extra = tuple((name, parse_field(name)) for name in self.extra)
        session, item, time = map(parse_field, (self.session, self.item, self.time))
        where = parse_filter(self.where) if self.where else None
        explode = parse_field(self.explode) if self.explode else None
        if event_id and explode:
            event_id = with_index(event_id)
        fields = ClickFields(session, item, time, event_id, extra, where, explode)
        _require_elements(fields)
        return fields

    @property
    def required(self) -> dict[str, Field]:
        """Return the fields that a schema must have, by name."""
        fields = self.fields
        filtered = fields_in(fields.where) if fields.where else ()
        of_filter = {written_path(path): path for field in filtered for path in paths_in(field)}
        named = {self.session: fields.session, self.item: fields.item, self.time: fields.time}
        if fields.explode is None:
            return named | of_filter
        in_record = {name: FirstOf(fields.in_record(field)) for name, field in named.items()}
        return in_record | {self.explode: fields.explode}

    @property
    def reads_record_time(self) -> bool:
        """Return whether the event time is the record's own timestamp."""
        return self.fields.time == (RecordPart.TIMESTAMP,)


class ClickFields(NamedTuple):
    """Where the fields of a click are in a record; `event_id` may be nowhere."""

    session: Field
    item: Field
    time: Field
    event_id: Field | None = None
    extra: tuple[tuple[str, Field], ...] = ()
    where: Filter | None = None
    explode: Field | None = None

    @property
    def plain(self) -> list[Field]:
        """Return the fields of a click without extra fields."""
        required: list[Field] = [self.session, self.item, self.time]
        return [*required, self.event_id] if self.event_id else required

    @property
    def used(self) -> list[Field]:
        """Return all fields that are read."""
        filtered = fields_in(self.where) if self.where else ()
        return [*self.plain, *(field for _, field in self.extra), *filtered]

    @property
    def used_in_record(self) -> list[Field]:
        """Return all fields that are read, as paths from the record's value."""
        if self.explode is None:
            return self.used
        return [self.explode, *(path for field in self.used for path in self.in_record(field))]

    def in_record(self, field: Field) -> tuple[Path, ...]:
        """Return the paths of an element's field from the value of the record."""
        lists = [*paths_in(self.explode)] if self.explode else []
        return tuple(
            whole
            for path in paths_in(field)
            for list_ in lists
            for whole in _in_record(path, list_)
        )

    @property
    def parts(self) -> set[RecordPart]:
        """Return the parts of a record, beside its value, that are read."""
        return set().union(*map(parts_in, self.used))


def _in_record(path: Path, list_: Path) -> Iterator[Path]:
    first, *others = path
    if first is RecordPart.RECORD:
        yield tuple(others) or path
    elif first is RecordPart.ELEMENT:
        yield (*list_, "0", *others)
    elif isinstance(first, RecordPart):
        yield path
    else:
        yield (*list_, "0", *path)


def _require_elements(fields: ClickFields) -> None:
    """Refuse fields of an element where a record is one click, and a list that is none."""
    if fields.explode is None and (wrong := fields.parts & OF_ELEMENTS):
        names = ", ".join(sorted(part.value for part in wrong))
        raise SettingsError(f"{names}: only with clicks.explode, the path of a list of clicks")
    if isinstance(fields.explode, Joined):
        raise SettingsError("clicks.explode: expected the path of one list, not several joined")
