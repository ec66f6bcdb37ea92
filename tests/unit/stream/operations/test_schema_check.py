from __future__ import annotations

import io
import json

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from ader_stream.runtime.resources import resource
from ader_stream.stream.avro.codec import CHUNK_TYPE, SCHEMA_HEADER, TYPE_HEADER, encode
from ader_stream.stream.operations.schema_check import SchemaUse, check_schemas
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka, smallest

TOPICS = Topics("ader")


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka({name: count for name, count, _ in TOPICS.specifications(2)})


def uses(kafka: FakeKafka, sample: int | None = None) -> list[SchemaUse]:
    return list(check_schemas(kafka, TOPICS, sample))


def write(kafka: FakeKafka, partition: int, schema: bytes | None = None) -> None:
    value, headers = encode("Replayed", {"offsets": []})
    if schema is not None:
        headers = [(TYPE_HEADER, b"Replayed"), (SCHEMA_HEADER, schema)]
    kafka.append(TOPICS.dead_letters, value, None, headers, partition)


def test_records_are_counted_by_type_and_schema_over_all_partitions(kafka: FakeKafka) -> None:
    for partition in (0, 1, 1):
        write(kafka, partition)
    [use] = uses(kafka)
    assert (use.topic, use.type, use.state) == ("ader.dead-letters", "Replayed", "current")
    assert use.records == 3


@pytest.mark.parametrize("file", sorted(resource("schemas", "older").iterdir()), ids=str)
def test_what_an_older_schema_wrote_is_reported_and_read(kafka: FakeKafka, file: object) -> None:
    schema = json.loads(file.read_text())
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), smallest(schema))
    print_ = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO").encode()
    headers = [(TYPE_HEADER, schema["name"].encode()), (SCHEMA_HEADER, print_)]
    kafka.append(TOPICS.models, buffer.getvalue(), "1", headers)
    [use] = uses(kafka)
    assert (use.type, use.schema, use.state) == (schema["name"], print_.decode(), "older")


def test_what_a_newer_schema_wrote_cannot_be_read(kafka: FakeKafka) -> None:
    write(kafka, 0)
    write(kafka, 0, schema=b"f" * 16)
    current, newer = uses(kafka)
    assert (current.state, newer.state, newer.schema) == ("current", "unreadable", "f" * 16)
    assert newer.problem.startswith("partition 0, offset 1: ")


def test_tombstones_and_chunks_have_no_schema(kafka: FakeKafka) -> None:
    kafka.append(TOPICS.models, None, "1", [])
    kafka.append(TOPICS.models, b"\xff", "1", [(TYPE_HEADER, CHUNK_TYPE)])
    assert uses(kafka) == []


def test_a_sample_holds_the_oldest_and_the_newest(kafka: FakeKafka) -> None:
    for schema in (b"a" * 16, None, None, None, b"b" * 16):
        write(kafka, 1, schema)
    assert [use.schema for use in uses(kafka, sample=1)] == ["a" * 16, "b" * 16]
    assert sum(use.records for use in uses(kafka, sample=2)) == 4
    assert sum(use.records for use in uses(kafka)) == 5
