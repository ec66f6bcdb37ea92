"""Whoever has the schema files alone can read every topic."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from ader_stream.stream.kafka.records import Record
from tests.integration.system import Kafka
from tests.integration.whole_run import WholeRun, whole_run

SCHEMAS = Path(__file__).parents[2] / "schemas"

TYPES = {
    "sessions": {"SessionBatch", "BlockEnd", "RulesChange"},
    "sessionizer_state": {"OpenSessions", "PartitionState", "RulesChange"},
    "models": {"ModelManifest"},
    "model_chunks": {"chunk"},
    "serving": {"Serving"},
    "scores": {"Score", "ScorePlace"},
    "recommendations": {"Recommendation"},
    "dead_letters": {"DeadLetter"},
}
"""Topic → what its records say they are."""

KEYS = {
    "sessions": r"[0-2]",
    "sessionizer_state": r"visitor-\d+|__partition__(/held/\d+|/rules)?",
    "models": r"[1-4]",
    "model_chunks": r"[1-4]/(weights|vocabulary|exemplars|optimizer)/\d+",
    "serving": r"127\.0\.0\.1:\d+",
    "scores": r"[0-3]/(none|[1-3])/[0-2]|place/[0-2]",
    "recommendations": r"visitor-\d+",
    "dead_letters": r"poisoned",
}

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def records(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Record]]:
    run = whole_run(kafka.bootstrap_servers, tmp_path_factory.getbasetemp() / "whole-run")
    return {name: of_topic(run, name) for name in TYPES}


def of_topic(run: WholeRun, name: str) -> list[Record]:
    return run.system.records(getattr(run.system.topics, name))


def headers_of(record: Record) -> dict[str, bytes]:
    return dict(record.headers() or ())


def type_of(record: Record) -> str:
    return headers_of(record)["ader-type"].decode()


def schema_of(record: Record) -> dict[str, Any]:
    return dict(json.loads((SCHEMAS / f"{type_of(record)}.avsc").read_text()))


@pytest.mark.parametrize("topic", TYPES)
def test_every_record_names_its_type(records: Mapping[str, list[Record]], topic: str) -> None:
    valued = [record for record in records[topic] if record.value() is not None]
    found = {type_of(record) for record in valued}
    assert found - {"HeldClick"} == TYPES[topic]  # there is one where a commit fell in between


@pytest.mark.parametrize("topic", TYPES)
def test_keys_are_readable(records: Mapping[str, list[Record]], topic: str) -> None:
    keys = {(record.key() or b"").decode() for record in records[topic]}
    assert not [key for key in keys if not re.fullmatch(KEYS[topic], key)]


@pytest.mark.parametrize("topic", [topic for topic in TYPES if topic != "model_chunks"])
def test_every_value_is_plain_avro_of_the_schema_that_it_names(
    records: Mapping[str, list[Record]], topic: str
) -> None:
    for record in records[topic]:
        value = record.value()
        if value is None:  # a tombstone
            continue
        schema, buffer = schema_of(record), io.BytesIO(value)
        decoded = fastavro.schemaless_reader(buffer, fastavro.parse_schema(schema), None)
        assert (type(decoded), buffer.read()) == (dict, b"")
        canonical = to_parsing_canonical_form(schema)
        named = headers_of(record)["ader-schema"].decode()
        assert named == fingerprint(canonical, "CRC-64-AVRO")


def test_sessions_carry_the_number_of_the_clicks_partition(
    records: Mapping[str, list[Record]],
) -> None:
    for record in records["sessions"]:
        assert record.key() == str(record.partition()).encode()


def test_chunks_are_raw_bytes_below_a_megabyte(records: Mapping[str, list[Record]]) -> None:
    assert all(0 < len(record.value() or b"") < MEGABYTE for record in records["model_chunks"])


def test_dead_sessions_leave_tombstones_in_the_state(records: Mapping[str, list[Record]]) -> None:
    last = {(r.partition(), r.key()): r.value() for r in records["sessionizer_state"]}
    kept = {key for (_, key), value in last.items() if value is not None}
    quarantined = {key for key in kept if key.startswith(b"__partition__/held/")}
    assert kept - quarantined == {b"__partition__", b"__partition__/rules"}
