from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.schema import to_parsing_canonical_form

from ader_stream.runtime.resources import resource
from ader_stream.stream.avro.codec import SCHEMA_HEADER, TYPE_HEADER, decode, encode
from ader_stream.types import DEAD_LETTER_REASONS
from tests.fakes import example, smallest

FILES = sorted(resource("schemas").glob("*.avsc"))
OLDER = sorted(resource("schemas", "older").iterdir())
TYPES = {
    "BlockEnd",
    "Click",
    "ClockRefusal",
    "Control",
    "DeadLetter",
    "EventIds",
    "Gap",
    "HeldClick",
    "IdleAdvance",
    "ModelManifest",
    "MonitorPlace",
    "MonitorStatistics",
    "OpenSessions",
    "PairedScore",
    "PartitionState",
    "Recommendation",
    "Replayed",
    "RulesChange",
    "Score",
    "ScorePlace",
    "Serving",
    "SessionBatch",
    "Watermark",
    "WatermarkReset",
}

ENDS = (".", "…")

every_schema = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def records_in(schema: Any) -> Iterator[dict[str, Any]]:
    """The record types of a schema, itself included."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records_in(branch)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
            for field in schema["fields"]:
                yield from records_in(field["type"])
        yield from records_in(schema.get("items") or schema.get("values"))


def rabin(data: bytes) -> bytes:
    """CRC-64-AVRO as the Avro specification writes it, in the order that it is sent in."""
    empty = 0xC15D213AA4D7A795
    print_ = empty
    for byte in data:
        print_ ^= byte
        for _ in range(8):
            print_ = (print_ >> 1) ^ (empty & -(print_ & 1))
    return print_.to_bytes(8, "little")


def test_there_is_one_file_a_type() -> None:
    assert {file.name for file in FILES} == {f"{name}.avsc" for name in TYPES}


@every_schema
def test_a_schema_is_valid_avro_named_as_its_file(file: Path) -> None:
    schema = read(file)
    fastavro.parse_schema(schema)
    assert (schema["type"], schema["namespace"], schema["name"]) == ("record", "ader", file.stem)


@every_schema
def test_every_record_and_field_says_what_it_is(file: Path) -> None:
    for record in records_in(read(file)):
        assert record["doc"].endswith(ENDS)
        assert all(field["doc"].endswith(ENDS) for field in record["fields"])


@every_schema
def test_what_may_be_missing_is_null_by_default(file: Path) -> None:
    for record in records_in(read(file)):
        for field in record["fields"]:
            if isinstance(field["type"], list):
                assert (field["type"][0], field["default"]) == ("null", None)


@every_schema
def test_an_avro_reader_that_has_only_the_file_reads_our_records(file: Path) -> None:
    value = example(file.stem)
    data, _ = encode(file.stem, value)
    buffer = io.BytesIO(data)
    schema = fastavro.schema.load_schema(str(file))
    assert fastavro.schemaless_reader(buffer, schema, None) == value
    assert buffer.tell() == len(data)


@every_schema
def test_the_headers_name_type_and_schema_by_the_fingerprint_of_the_avro_specification(
    file: Path,
) -> None:
    _, headers = encode(file.stem, example(file.stem))
    canonical = to_parsing_canonical_form(read(file)).encode()
    assert headers == [
        (TYPE_HEADER, file.stem.encode()),
        (SCHEMA_HEADER, rabin(canonical).hex().encode()),
    ]


@pytest.mark.parametrize("file", OLDER, ids=lambda file: file.stem)
def test_what_an_older_schema_wrote_is_read_as_todays_type(file: Path) -> None:
    type_name = file.name.split(".")[0]
    older = read(file)
    written = smallest(older)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(older), written)
    fingerprint = rabin(to_parsing_canonical_form(read(file)).encode()).hex().encode()
    headers = [(TYPE_HEADER, type_name.encode()), (SCHEMA_HEADER, fingerprint)]
    found_type, found = decode(buffer.getvalue(), headers)
    assert found_type == type_name
    assert set(found) == set(example(type_name))
    assert only(found, written) == written


def only(found: Any, written: Any) -> Any:
    """What was found, without the fields that were not written."""
    if not isinstance(written, dict):
        return found
    return {name: only(found[name], value) for name, value in written.items()}


def test_the_reasons_for_a_dead_letter_are_those_of_its_schema() -> None:
    fields = {
        field["name"]: field for field in read(resource("schemas", "DeadLetter.avsc"))["fields"]
    }
    assert f": {', '.join(DEAD_LETTER_REASONS)}." in fields["reason"]["doc"]
