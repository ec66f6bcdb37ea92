"""Decode the user's records, in the user's format, to `Click`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

from ader_stream.errors import ClickError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.clicks.avro_schema import without_needless_types
from ader_stream.stream.clicks.event_times import MAX_TIME, time_reader
from ader_stream.stream.clicks.fields import (
    RESERVED_KEY,
    Fields,
    is_absent,
    json_text,
    missing_field,
    optional,
    picker,
    session_key,
    text,
)
from ader_stream.stream.clicks.paths import (
    Field,
    FirstOf,
    RecordPart,
    is_simple,
    parse_field,
    parts_in,
)
from ader_stream.stream.clicks.paths import (
    Path as FieldPath,
)
from ader_stream.stream.clicks.registered_schemas import RegisteredSchemas
from ader_stream.stream.clicks.values import (
    ReadValue,
    ValueReaders,
    avro_readers,
    by_schema_id,
    read_json,
    schema_from_file,
)
from ader_stream.stream.kafka.records import Record, headers_of
from ader_stream.stream.kafka.sampling import SampledRecord
from ader_stream.stream.schema_registry.client import RegistryAccess, SchemaRegistry
from ader_stream.types import Click

__all__ = [
    "NOT_PLAIN",
    "RECORD_KEY",
    "RECORD_TIME",
    "RESERVED_KEY",
    "WATERMARK_HEADER",
    "ClickDecoder",
    "ClickFormat",
    "PlainClicks",
    "decode_heartbeat",
    "encode_click",
]

WATERMARK_HEADER = "ader-watermark"

RECORD_KEY = str(RecordPart.KEY.value)
"""Names the record's key in place of a field."""

RECORD_TIME = str(RecordPart.TIMESTAMP.value)
"""Names the record's own timestamp in place of a field."""

NOT_PLAIN = -(2**63)
"""In place of an event time: the record is not a click, or it has fields that pass through."""

UTF8_BYTES = 4
"""Most bytes of a character."""

NUMBERS_BYTES = 64
"""Bytes by which a click's decimal numbers may be longer than their encoded value."""

FEW_RECORDS = 16
"""Number of clicks below which decoding one by one is faster."""

ReadFields = Callable[[Record], Fields]
ReadRequired = Callable[[Fields], tuple[str, str, int]]
CheckReadable = Callable[[Iterable[Record]], None]
ReadOptional = Callable[[Fields], tuple[str | None, Mapping[str, str]]]

_MISSING = object()


@dataclass(frozen=True)
class ClickFormat:
    """How the user's click records are decoded.

    Parameters
    ----------
    encoding
        ``json``, ``avro`` or ``avro-registry`` (with the schema registry's five-byte header).
    session, item, time, event_id, extra
        Paths of the fields: see `ader_stream.stream.clicks.paths`.
    time_format
        ``ms``, ``s``, ``us``, ``ns`` or ``iso8601``.
    avro_schema
        File of the writer's schema; our own Click without it.
    registry
        Schema registry with the writers' schemas by their ids.
    max_bytes
        Most bytes of the stored fields of a click: key, item id, event id, extra fields.
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
        return ClickFields(session, item, time, event_id, extra)

    @property
    def required(self) -> dict[str, Field]:
        """Return the fields that every click has, by name."""
        session, item, time, *_ = self.fields
        return {self.session: session, self.item: item, self.time: time}

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

    @property
    def plain(self) -> list[Field]:
        """Return the fields of a click without extra fields."""
        required: list[Field] = [self.session, self.item, self.time]
        return [*required, self.event_id] if self.event_id else required

    @property
    def used(self) -> list[Field]:
        """Return all fields that are read."""
        return [*self.plain, *(field for _, field in self.extra)]

    @property
    def parts(self) -> set[RecordPart]:
        """Return the parts of a record, beside its value, that are read."""
        return set().union(*map(parts_in, self.used))


class PlainClicks(NamedTuple):
    """Fields of records as columns of equal length; a time of `NOT_PLAIN` means: call `decode`.

    There are event ids if the format names their field; None means: call `decode`.
    """

    keys: list[str]
    items: list[str]
    times: list[int]
    event_ids: list[str | None] | None


class ClickDecoder:
    """Decodes click records.

    Attributes
    ----------
    decode
        Record → its click. Raises `ClickError` with the reason for the dead letter. The format is
        compiled into it, so that no click reads the settings again.
    read_fields
        Record → its fields, of any kind. Raises `ClickError` as `decode` does.
    decode_plain
        Records → the same for many of them at once, in a fraction of the time.
    check_readable
        Checks records before they are decoded; raises `NotYetError` with the offset of the first
        one whose schema is not available now. Decoding those before it sends no request.
    """

    def __init__(self, format: ClickFormat) -> None:  # noqa: A002 - the field's own word
        readers, self.check_readable = _value_readers(format)
        self.read_fields: ReadFields = _fields_reader(format, readers.one)
        self.decode: Callable[[Record], Click] = _compile(format, self.read_fields)
        self.decode_plain = _plain_decoder(format, readers, self.decode)
        self._reads_headers = RecordPart.HEADERS in format.fields.parts

    def prepare(self, records: Iterable[Record]) -> Iterable[Record]:
        """Return records that may be decoded repeatedly: copies, if a field is a header.

        See `headers_of`: headers can be asked of a record only once.
        """
        return map(SampledRecord.of, records) if self._reads_headers else records


def decode_heartbeat(headers: list[tuple[str, bytes]] | None) -> int | None:
    """Return the watermark (ms) of a record with a null value, or None.

    Raises
    ------
    ClickError
        If the header is not a decimal number, or not a valid time of a click.
    """
    for name, value in headers or ():
        if name == WATERMARK_HEADER:
            return _watermark(value)
    return None


def encode_click(click: Click, format: ClickFormat) -> bytes:  # noqa: A002
    """Return a click's value as ader-stream writes it: JSON, or our own Avro."""
    if format.encoding != "json":
        value = {"session": click.key, "item": click.item, "time": click.time}
        optional_ = {"event_id": click.event_id, "extra": dict(click.extra)}
        return encode("Click", value | optional_)[0]
    places, fields = format.fields, dict[str, Any]()
    for name, field in places.extra:
        if name in click.extra:
            _put(fields, field, json.loads(click.extra[name]))
    _put(fields, places.item, click.item)
    _put(fields, places.time, _written_time(click.time, format.time_format))
    _put(fields, places.session, click.key)
    if places.event_id and click.event_id is not None:
        _put(fields, places.event_id, click.event_id)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _compile(format: ClickFormat, read: ReadFields) -> Callable[[Record], Click]:  # noqa: A002
    required, optional_ = _required_reader(format), _optional_reader(format)
    checked, surely_fits = _size_check(format.max_bytes), format.max_bytes // UTF8_BYTES

    def decode(record: Record) -> Click:
        key, item, time = required(read(record))
        click = Click(key, item, time)
        return click if len(key) + len(item) <= surely_fits else checked(click)

    def decode_with_optional(record: Record) -> Click:
        fields = read(record)
        click = Click(*required(fields), *optional_(fields))
        return click if _characters(click) <= surely_fits else checked(click)

    return decode_with_optional if format.event_id or format.extra else decode


def _size_check(max_bytes: int) -> Callable[[Click], Click]:
    def checked(click: Click) -> Click:
        if (found := click_bytes(click)) > max_bytes:
            raise ClickError(
                "too-large",
                f"{found} bytes of key, item, event id and extra fields: expected at most "
                f"{max_bytes}; leave what is large out of clicks.extra_fields, or raise "
                "clicks.max_bytes, and with it max.message.bytes of our topics",
            )
        return click

    return checked


def click_bytes(click: Click) -> int:
    """Return the number of stored bytes of a click, in addition to its time.

    >>> click_bytes(Click("a", "é", 5, "id", {"price": "1"}))
    11
    """
    texts = (click.key, click.item, click.event_id or "", *chain.from_iterable(click.extra.items()))
    return sum(len(text_.encode()) for text_ in texts)


def _characters(click: Click) -> int:
    key, item, _, event_id, extra = click
    count = len(key) + len(item) + len(event_id or "")
    return count + sum(map(len, extra)) + sum(map(len, extra.values())) if extra else count


def _required_reader(format: ClickFormat) -> ReadRequired:  # noqa: A002
    session_name, item_name, time_name = names = (format.session, format.item, format.time)
    required = format.fields[:3]
    pick = picker(*required)
    time_of = time_reader(time_name, "ms" if format.reads_record_time else format.time_format)

    def read(fields: Fields) -> tuple[str, str, int]:
        try:
            key, item, time = pick(fields)
        except (KeyError, TypeError):
            raise missing_field(fields, zip(names, required, strict=True)) from None
        if type(key) is not str or not key or key.startswith(RESERVED_KEY):
            key = session_key(session_name, key)
        if type(item) is not str or not item:
            item = text(item_name, item)
        return key, item, time_of(time)

    return read


def _optional_reader(format: ClickFormat) -> ReadOptional:  # noqa: A002
    *_, event_id_field, extra_fields = format.fields
    event_id = optional(event_id_field, None) if event_id_field else None
    extra = [(name, optional(field, _MISSING)) for name, field in extra_fields]

    def read(fields: Fields) -> tuple[str | None, Mapping[str, str]]:
        id_ = event_id(fields) if event_id else None
        values = [(name, get(fields)) for name, get in extra]
        return (
            None if is_absent(id_) else text(format.event_id, id_),
            {name: json_text(name, value) for name, value in values if value is not _MISSING},
        )

    return read


def _fields_reader(format: ClickFormat, read_value: ReadValue) -> ReadFields:  # noqa: A002
    """Return a reader of a record's fields, with the parts of the record that are named."""
    parts = format.fields.parts
    if not parts:
        return lambda record: read_value(record.value())
    add_headers = RecordPart.HEADERS in parts

    def read(record: Record) -> Fields:
        fields = dict(read_value(record.value()))
        fields[RecordPart.KEY] = record.key()
        fields[RecordPart.TIMESTAMP] = record.timestamp()[1]
        if add_headers:
            fields[RecordPart.HEADERS] = _header_values(record)
        return fields

    return read


def _header_values(record: Record) -> dict[str, str | bytes | None]:
    """Return the headers by name: of several with one name, the last one, as Kafka does."""
    return {name: _as_text(value) for name, value in headers_of(record)}


def _as_text(value: bytes | str | None) -> str | bytes | None:
    if type(value) is not bytes:
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _value_readers(format: ClickFormat) -> tuple[ValueReaders, CheckReadable]:  # noqa: A002
    fields = format.fields
    slim = partial(without_needless_types, fields=fields.used, millis=_millis_path(format))

    def readers(schema: Any) -> ValueReaders:
        return avro_readers(slim(schema), fields.plain)

    if format.encoding == "json":
        return ValueReaders(read_json), _always_readable
    if format.encoding == "avro-registry" and format.registry:
        schemas = RegisteredSchemas(SchemaRegistry(format.registry), readers)
        return by_schema_id(schemas.reader), schemas.check_readable
    found = readers(schema_from_file(format.avro_schema, format.required))
    if format.encoding == "avro-registry":
        return by_schema_id(lambda _: found), _always_readable
    return found, _always_readable


def _millis_path(format: ClickFormat) -> FieldPath | None:  # noqa: A002
    """Return the path of an event time whose Avro timestamp of ms may be read as a number."""
    time = format.fields.time
    return time if format.time_format == "ms" and isinstance(time, tuple) else None


def _plain_decoder(
    format: ClickFormat,  # noqa: A002
    readers: ValueReaders,
    decode: Callable[[Record], Click],
) -> Callable[[Sequence[Record]], PlainClicks]:
    surely_fits = format.max_bytes - NUMBERS_BYTES

    def one_by_one(records: Sequence[Record]) -> PlainClicks:
        clicks = [_plain(decode, record) for record in records]
        keys, items, times, event_ids = map(list, zip(*clicks, strict=True))
        return PlainClicks(keys, items, times, event_ids if format.event_id else None)

    def side_by_side(records: Sequence[Record]) -> PlainClicks:
        columns = None
        if readers.many and len(records) >= FEW_RECORDS:
            columns = readers.many([record.value() or b"" for record in records])
        if columns is None:
            return one_by_one(records)
        keys, items, times, *event_ids = (list(column) for column in columns.fields)
        _make_texts(keys, items, *event_ids)
        refusable = _refusable(times, keys, items, *event_ids)
        for position in (*columns.left_out, *columns.longer_than(surely_fits), *refusable):
            times[position] = NOT_PLAIN
            for ids in event_ids:
                ids[position] = None
        return PlainClicks(keys, items, times, event_ids[0] if event_ids else None)

    def none_plain(records: Sequence[Record]) -> PlainClicks:
        no_texts = [""] * len(records)
        return PlainClicks(no_texts, no_texts, [NOT_PLAIN] * len(records), None)

    if format.extra:
        return none_plain
    return side_by_side if format.time_format == "ms" else one_by_one


def _plain(decode: Callable[[Record], Click], record: Record) -> tuple[str, str, int, str | None]:
    try:
        key, item, time, event_id, _ = decode(record)
    except ClickError:
        return "", "", NOT_PLAIN, None
    return key, item, time, event_id


def _make_texts(*columns: list[Any]) -> None:
    """Convert whole numbers to texts."""
    for column in columns:
        if column and type(column[0]) is int:
            column[:] = map(str, column)


def _refusable(times: list[int], keys: list[str], *others: list[str]) -> list[int]:
    """Return positions of values that `decode` may refuse: only few batches have one."""
    if (
        min(times) >= 0
        and max(times) <= MAX_TIME
        and not any("" in column for column in (keys, *others))
        and RESERVED_KEY not in "\n".join(keys)
    ):
        return []
    return [
        position
        for position, (time, key, *texts) in enumerate(zip(times, keys, *others, strict=True))
        if not (0 <= time <= MAX_TIME and key and all(texts)) or key.startswith(RESERVED_KEY)
    ]


def _always_readable(_: Iterable[Record]) -> None:
    """Accept all records: they need no schema."""


def _watermark(value: bytes | None) -> int:
    if value and value.isdigit() and len(value) < 16 and int(value) <= MAX_TIME:  # ASCII alone
        return int(value)
    raise ClickError(
        "bad-value", f"header {WATERMARK_HEADER} = {value!r:.100}: expected ms since 1970, decimal"
    )


def _put(fields: dict[str, Any], field: Field, value: Any) -> None:
    """Set a value at a path, of several ones at the first; what is not in the value is left out."""
    path = field.options[0] if isinstance(field, FirstOf) else field
    if not is_simple(path):
        return
    *outer, last = cast("tuple[str, ...]", path)
    for step in outer:
        fields = fields.setdefault(step, {})
    fields[last] = value


def _written_time(time: int, time_format: str) -> int | float | str:
    if time_format == "iso8601":
        return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    return {"ms": time, "s": time / 1000, "us": time * 1000, "ns": time * 1_000_000}[time_format]
