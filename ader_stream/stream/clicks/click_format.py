"""How the user's click records are decoded, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ader_stream.stream.clicks.language.filters import Filter, fields_in, parse_filter
from ader_stream.stream.clicks.language.paths import (
    Field,
    RecordPart,
    parse_field,
    parts_in,
    paths_in,
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
    """

    encoding: str = "json"
    session: str = "session"
    item: str = "item"
    time: str = "time"
    event_id: str = ""
    extra: tuple[str, ...] = ()
    time_format: str = "ms"
    avro_schema: Path | None = None
    registry: RegistryAccess | None = None
    max_bytes: int = 64 * 1024
    where: str = ""
    ignore_keys: tuple[str, ...] = ()
    key_format: str = "text"

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
        return ClickFields(session, item, time, event_id, extra, where)

    @property
    def required(self) -> dict[str, Field]:
        """Return the fields that a schema must have, by name."""
        session, item, time, *_ = self.fields
        filtered = fields_in(self.fields.where) if self.fields.where else ()
        of_filter = {written_path(path): path for field in filtered for path in paths_in(field)}
        return {self.session: session, self.item: item, self.time: time} | of_filter

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
    def parts(self) -> set[RecordPart]:
        """Return the parts of a record, beside its value, that are read."""
        return set().union(*map(parts_in, self.used))
