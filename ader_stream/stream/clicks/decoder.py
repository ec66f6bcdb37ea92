"""Decode the user's records, in the user's format, to `Click`."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any, TypeVar, cast

from ader_stream.errors import ClickError, DecodeError, IgnoredError, SettingsError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.clicks.click_format import ClickFormat
from ader_stream.stream.clicks.elements import elements_reader
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
from ader_stream.stream.clicks.formats.avro_schema import without_needless_types
from ader_stream.stream.clicks.formats.registered_schemas import RegisteredSchemas
from ader_stream.stream.clicks.formats.values import (
    KEY_FORMATS,
    ReadKey,
    ReadValue,
    ValueReaders,
    avro_key_reader,
    avro_readers,
    by_schema_id,
    key_reader,
    read_json,
    read_json_list,
    registered_key_reader,
    schema_from_file,
)
from ader_stream.stream.clicks.language.filters import compile_filter, fields_in
from ader_stream.stream.clicks.language.paths import (
    Field,
    FirstOf,
    Joined,
    RecordPart,
    is_simple,
    paths_in,
)
from ader_stream.stream.clicks.language.paths import (
    Path as FieldPath,
)
from ader_stream.stream.clicks.plain_clicks import NOT_PLAIN, PlainClicks, plain_decoder
from ader_stream.stream.kafka.records import Record, headers_of
from ader_stream.stream.kafka.sampling import SampledRecord
from ader_stream.stream.schema_registry.client import SchemaRegistry
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

UTF8_BYTES = 4
"""Most bytes of a character."""

ReadFields = Callable[[Record], Fields]
ReadRequired = Callable[[Fields], tuple[str, str, int]]
CheckReadable = Callable[[Iterable[Record]], None]
ReadEach = Callable[[Record], Iterator[tuple[int, Fields | IgnoredError]]]
ReadOptional = Callable[[Fields], tuple[str | None, Mapping[str, str]]]

Source = TypeVar("Source")

_OF_ONE = frozenset({RecordPart.ELEMENT, RecordPart.INDEX})

_MISSING = object()


class ClickDecoder:
    """Decodes click records.

    Attributes
    ----------
    decode
        Record → its click. Raises `ClickError` with the reason for the dead letter, and
        `IgnoredError` if the record is no click by the settings. The format is compiled into it,
        so that no click reads the settings again.
    read_fields
        Record → its fields, of any kind. Raises `ClickError` and `IgnoredError` as `decode` does.
    decode_plain
        Records → the same for many of them at once, in a fraction of the time.
    explodes
        Whether a record holds many clicks. Then `decode` and `read_fields` are those of its first
        element that is not ignored.
    decode_each
        Record that holds many clicks → position of each, and the click, or why it is refused or
        ignored. Raises `ClickError` and `IgnoredError` if the whole record is.
    check_readable
        Checks records before they are decoded; raises `NotYetError` with the offset of the first
        one whose schema is not available now. Decoding those before it sends no request.
    """

    def __init__(self, format: ClickFormat) -> None:  # noqa: A002 - the field's own word
        registry = SchemaRegistry(format.registry) if format.registry else None
        readers, check_values = _value_readers(format, registry)
        read_key, check_keys = _key_reader(format, registry)
        self.check_readable = _both(check_values, check_keys)
        read_fields = _fields_reader(format, readers.one, read_key)
        self.explodes = bool(format.explode)
        if self.explodes:
            self._read_each = _each_reader(format, read_fields)
            self.read_fields: ReadFields = self._read_first
        else:
            self.read_fields = _filtered(format, read_fields, read_key)
        self.decode: Callable[[Record], Click] = _compile(format, self.read_fields)
        self._decode_fields = _compile(format, _same)
        self._key_of = session_reader(format)
        self.decode_plain = plain_decoder(format, readers, self.decode)
        self._reads_headers = self.explodes or RecordPart.HEADERS in format.fields.parts

    def decode_each(
        self, record: Record
    ) -> Iterator[tuple[int, Click | ClickError | IgnoredError]]:
        """Yield position and click of each element; see the class."""
        for position, fields in self._read_each(record):
            if isinstance(fields, IgnoredError):
                yield position, fields
                continue
            try:
                yield position, self._decode_fields(fields)
            except (ClickError, IgnoredError) as error:
                yield position, error

    def clicks_of(self, record: Record) -> list[Click]:
        """Return the clicks of a record, without those that are refused or ignored.

        Raises
        ------
        ClickError, IgnoredError
            If no click is left: the first reason for it.
        """
        if not self.explodes:
            return [self.decode(record)]
        found = [click for _, click in self.decode_each(record)]
        clicks = [click for click in found if isinstance(click, Click)]
        refused = [error for error in found if isinstance(error, ClickError)]
        if clicks:
            return clicks
        raise refused[0] if refused else IgnoredError("where")

    def session_of(self, record: Record) -> str | None:
        """Return the session key of a record that is refused, if it can be read."""
        try:
            return self._key_of(self.read_fields(record))
        except DecodeError:
            return None

    def sessions_of_each(self, record: Record) -> dict[int, str]:
        """Return the position and the session key of each element, as far as they can be read."""
        keys = {
            position: self._key_of(fields)
            for position, fields in self._read_each(record)
            if not isinstance(fields, IgnoredError)
        }
        return {position: key for position, key in keys.items() if key is not None}

    def _read_first(self, record: Record) -> Fields:
        for _, fields in self._read_each(record):
            if not isinstance(fields, IgnoredError):
                return fields
        raise IgnoredError("where")

    def prepare(
        self, records: Iterable[Record], *, reads_headers: bool = False
    ) -> Iterable[Record]:
        """Return records that may be decoded repeatedly: copies, if headers are read.

        See `headers_of`: headers can be asked of a record only once.

        Parameters
        ----------
        reads_headers
            The caller reads headers, in addition to those that are fields.
        """
        is_copied = reads_headers or self._reads_headers
        return map(SampledRecord.of, records) if is_copied else records


def session_reader(format: ClickFormat) -> Callable[[Fields], str | None]:  # noqa: A002
    """Return a function that reads the session key alone; None if there is none."""
    get = optional(format.fields.session, None)

    def read(fields: Fields) -> str | None:
        try:
            return session_key(format.session, get(fields))
        except ClickError:
            return None

    return read


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


def _same(fields: Fields) -> Fields:
    return fields


def _compile(
    format: ClickFormat,  # noqa: A002
    read: Callable[[Source], Fields],
) -> Callable[[Source], Click]:
    """Return a function that decodes what `read` reads the fields from."""
    required, optional_ = _required_reader(format), _optional_reader(format)
    checked, surely_fits = _size_check(format.max_bytes), format.max_bytes // UTF8_BYTES

    def decode(record: Source) -> Click:
        key, item, time = required(read(record))
        click = Click(key, item, time)
        return click if len(key) + len(item) <= surely_fits else checked(click)

    def decode_with_optional(record: Source) -> Click:
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
    read = _every_required_reader(format)
    if not format.ignore_keys:
        return read
    is_ignored = _key_test(format)

    def read_others(fields: Fields) -> tuple[str, str, int]:
        if is_ignored(fields):
            raise IgnoredError("key")
        return read(fields)

    return read_others


def _key_test(format: ClickFormat) -> Callable[[Fields], bool]:  # noqa: A002
    """Return whether the session key of a record, or a part of a joined one, is ignored."""
    session, ignored = format.fields.session, frozenset(format.ignore_keys)
    parts = session.parts if isinstance(session, Joined) else (session,)
    getters = [optional(part, None) for part in parts]

    def test(fields: Fields) -> bool:
        return any(_as_key(get(fields)) in ignored for get in getters)

    return test


def _as_key(value: object) -> str | None:
    """Return a session key as text; empty for an absent one, None for one that is no key."""
    if is_absent(value):
        return ""
    try:
        return text("key", value)
    except ClickError:
        return None


def _every_required_reader(format: ClickFormat) -> ReadRequired:  # noqa: A002
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
    event_id_field, extra_fields = format.fields.event_id, format.fields.extra
    event_id = optional(event_id_field, None) if event_id_field else None
    extra = [(name, optional(field, _MISSING)) for name, field in extra_fields]

    def read(fields: Fields) -> tuple[str | None, Mapping[str, str]]:
        id_ = event_id(fields) if event_id else None
        values = [(name, get(fields)) for name, get in extra]
        return (
            None if id_ is None else _event_id(format.event_id, id_),
            {name: json_text(name, value) for name, value in values if value is not _MISSING},
        )

    return read


def _event_id(name: str, value: object) -> str | None:
    if type(value) is str and value:
        return value
    return None if is_absent(value) else text(name, value)


def _fields_reader(
    format: ClickFormat,  # noqa: A002
    read_value: ReadValue,
    read_key: ReadKey,
) -> ReadFields:
    """Return a reader of a record's fields, with the parts of the record that are named."""
    parts = format.fields.parts
    if format.explode:
        parts = {RecordPart.KEY, RecordPart.HEADERS}
    if not parts:
        return lambda record: read_value(record.value())
    if RecordPart.HEADERS in parts or format.key_format != "text":
        read_parts = _parts_reader(parts, read_key)
        return lambda record: {**read_value(record.value()), **read_parts(record)}
    key, timestamp = RecordPart.KEY, RecordPart.TIMESTAMP

    def read(record: Record) -> Fields:
        fields = read_value(record.value())
        fields[key] = record.key()
        fields[timestamp] = record.timestamp()[1]
        return fields

    return read


def _parts_reader(parts: Collection[RecordPart], read_key: ReadKey) -> ReadFields:
    """Return a reader of parts of a record beside its value."""
    reads_headers = RecordPart.HEADERS in parts

    def read(record: Record) -> Fields:
        fields: dict[RecordPart, Any] = {
            RecordPart.KEY: read_key(record.key()),
            RecordPart.TIMESTAMP: record.timestamp()[1],
        }
        if reads_headers:
            fields[RecordPart.HEADERS] = _header_values(record)
        return fields

    return read


def _filtered(
    format: ClickFormat,  # noqa: A002
    read: ReadFields,
    read_key: ReadKey,
) -> ReadFields:
    """Return a reader of the fields of records that pass the filter; it ignores the others.

    A filter of nothing but the key, headers and timestamp also leaves out records whose values
    have another format than clicks.
    """
    if (where := format.fields.where) is None:
        return read
    keep, fields = compile_filter(where), [*fields_in(where)]
    needs_value = not all(
        isinstance(path[0], RecordPart) for field in fields for path in paths_in(field)
    )
    read_first = read if needs_value else _parts_reader(format.fields.parts, read_key)

    def read_kept(record: Record) -> Fields:
        fields = read_first(record)
        if not keep(fields):
            raise IgnoredError("where")
        return fields if needs_value else read(record)

    return read_kept


def _each_reader(
    format: ClickFormat,  # noqa: A002
    read: ReadFields,
) -> ReadEach:
    """Return a reader of the elements of a record; `IgnoredError` in place of those left out.

    A filter of nothing but the record around an element is decided before the list is looked for.
    """
    where = format.fields.where
    explode = format.fields.explode
    assert explode is not None
    read_elements = elements_reader(explode, format.explode, format.max_elements)
    if where is None:
        return lambda record: read_elements(read(record))
    keep = compile_filter(where)
    paths = [path for field in fields_in(where) for path in paths_in(field)]
    if all(isinstance(path[0], RecordPart) and path[0] not in _OF_ONE for path in paths):
        return lambda record: read_elements(_kept(read(record), keep))

    def read_each(record: Record) -> Iterator[tuple[int, Fields | IgnoredError]]:
        for position, fields in read_elements(read(record)):
            yield position, fields if keep(fields) else IgnoredError("where")

    return read_each


def _kept(fields: Fields, keep: Callable[[Fields], bool]) -> Fields:
    """Return the fields of a record that a filter keeps."""
    if not keep({**fields, RecordPart.RECORD: fields.get(RecordPart.RECORD, fields)}):
        raise IgnoredError("where")
    return fields


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


def _value_readers(
    format: ClickFormat,  # noqa: A002
    registry: SchemaRegistry | None,
) -> tuple[ValueReaders, CheckReadable]:
    fields = format.fields
    slim = partial(
        without_needless_types, fields=fields.used_in_record, millis=_millis_path(format)
    )

    def readers(schema: Any) -> ValueReaders:
        return avro_readers(slim(schema), fields.plain)

    if format.encoding == "json":
        return ValueReaders(read_json_list if format.explode else read_json), _always_readable
    if format.encoding == "avro-registry" and registry:
        schemas = RegisteredSchemas(registry, readers)
        return by_schema_id(schemas.reader), schemas.check_readable
    found = readers(schema_from_file(format.avro_schema, format.required))
    if format.encoding == "avro-registry":
        return by_schema_id(lambda _: found), _always_readable
    return found, _always_readable


def _key_reader(
    format: ClickFormat,  # noqa: A002
    registry: SchemaRegistry | None,
) -> tuple[ReadKey, CheckReadable]:
    if RecordPart.KEY not in format.fields.parts:
        return KEY_FORMATS["text"], _always_readable
    if format.key_format != "avro-registry":
        return key_reader(format.key_format), _always_readable
    if registry is None:
        raise SettingsError(
            "clicks.key_format = avro-registry: expected clicks.registry_url, the schema registry"
        )
    schemas = RegisteredSchemas(registry, avro_key_reader, bytes_of=lambda record: record.key())
    return registered_key_reader(schemas.reader), schemas.check_readable


def _both(first: CheckReadable, second: CheckReadable) -> CheckReadable:
    if second is _always_readable:
        return first

    def check(records: Iterable[Record]) -> None:
        of_both = [*records]
        first(of_both)
        second(of_both)

    return check


def _millis_path(format: ClickFormat) -> FieldPath | None:  # noqa: A002
    """Return the path of an event time whose Avro timestamp of ms may be read as a number."""
    time = format.fields.time
    is_path = isinstance(time, tuple) and not format.explode
    return cast("FieldPath", time) if format.time_format == "ms" and is_path else None


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
