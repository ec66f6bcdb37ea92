"""Find out in which format the values of a sample are, and read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ader_stream.errors import DecodeError
from ader_stream.stream.clicks.click_format import ClickFormat
from ader_stream.stream.clicks.decoder import ClickDecoder
from ader_stream.stream.clicks.formats.json_values import decode_json
from ader_stream.stream.clicks.formats.values import HEADER_BYTES
from ader_stream.stream.clicks.sampled_times import readable
from ader_stream.stream.kafka.sampling import SampledRecord

JSON, JSON_LIST, FRAMED_JSON, FRAMED, NULL, OTHER = (
    "JSON objects",
    "JSON lists",
    "JSON behind a schema registry's header",
    "bytes behind a schema registry's header",
    "null values",
    "no JSON",
)


@dataclass(frozen=True)
class Contents:
    """The records of a sample that could be read.

    Parameters
    ----------
    format
        Of the values, as `clicks.format` names it; empty if none can be read.
    records, fields
        The records that were read, and their values, in the order of the log.
    kinds
        Number of records of each kind.
    sampled
        Number of records of the sample.
    """

    format: str
    records: tuple[SampledRecord, ...]
    fields: tuple[dict[str, Any], ...]
    kinds: Counter[str]
    sampled: int


def read_contents(records: Sequence[SampledRecord], known: ClickFormat) -> Contents:
    """Read the values of a sample in the format that most of them have.

    Parameters
    ----------
    known
        Where the schema registry is, or the file of the schema: without them no Avro can be read.
    """
    kinds = Counter(kind_of(record.value()) for record in records)
    name, read = _reader(kinds, known, records)
    found = [(record, fields) for record in records if (fields := read(record)) is not None]
    return Contents(
        name if found else "",
        tuple(record for record, _ in found),
        tuple(fields for _, fields in found),
        kinds,
        len(records),
    )


def kind_of(value: bytes | None) -> str:
    """Return what a value is.

    >>> kind_of(b'{"a": 1}'), kind_of(b"[]"), kind_of(None)
    ('JSON objects', 'JSON lists', 'null values')
    """
    if value is None:
        return NULL
    if value[:1] == b"\0" and len(value) > HEADER_BYTES:
        return FRAMED_JSON if type(_json(value[HEADER_BYTES:])) is dict else FRAMED
    found = _json(value)
    return JSON if type(found) is dict else JSON_LIST if type(found) is list else OTHER


Read = Callable[[SampledRecord], dict[str, Any] | None]


def _reader(
    kinds: Counter[str], known: ClickFormat, records: Sequence[SampledRecord]
) -> tuple[str, Read]:
    if kinds[FRAMED] > kinds[JSON] and known.registry:
        return "avro-registry", _decoded("avro-registry", known, records)
    if kinds[OTHER] > kinds[JSON] and known.avro_schema:
        return "avro", _decoded("avro", known, records)
    return "json", _read_object


def _read_object(record: SampledRecord) -> dict[str, Any] | None:
    value = _json(record.value() or b"")
    return value if type(value) is dict else None


def _decoded(encoding: str, known: ClickFormat, records: Sequence[SampledRecord]) -> Read:
    format_ = ClickFormat(encoding, avro_schema=known.avro_schema, registry=known.registry)
    decoder = ClickDecoder(format_)
    ready = {id(record) for record in readable(records, decoder)}

    def read(record: SampledRecord) -> dict[str, Any] | None:
        if id(record) not in ready:
            return None
        try:
            return dict(decoder.read_fields(record))
        except DecodeError:
            return None

    return read


def _json(value: bytes) -> Any:
    try:
        return decode_json(value)
    except ValueError:
        return None
