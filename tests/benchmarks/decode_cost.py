"""What decoding costs: process CPU time per click, for each format.

Run it with ``python -m tests.benchmarks.decode_cost``. Each figure is the best of several rounds,
taken in turn, so that what else the machine does hits every format alike. ``share`` is the cost
beside the plainest way to make a dictionary of the same bytes (``json.loads``, or fastavro alone):
it may be below 1.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from ader_stream.stream.clicks.decoder import RECORD_KEY, RECORD_TIME, ClickDecoder, ClickFormat
from tests.fakes import FakeRecord

CLICKS = 20_000
ROUNDS = 7

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
FLAT = {"visitor": "0f8fad5b-d9cb-469f", "sku": 123_456, "at": 1_700_000_000_123, "price": 9.5}
NAMES = {"session": "visitor", "item": "sku", "time": "at"}
OF_THE_RECORD = {"session": RECORD_KEY, "time": RECORD_TIME}


class Case(NamedTuple):
    """A format, the value of its clicks, and the plainest way to read such a value."""

    format: ClickFormat
    value: bytes
    plain: Callable[[bytes], Any]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cases = dict(json_cases()) | dict(avro_cases(Path(folder)))
        costs = measure(cases)
    print(f"{'format':32}{'us a click':>12}{'plain':>8}{'share':>8}")
    for name, (decode, plain) in costs.items():
        print(f"{name:32}{decode:12.2f}{plain:8.2f}{decode / plain:8.2f}")


def json_cases() -> dict[str, Case]:
    nested = {"event": {"user": {"id": FLAT["visitor"]}, "sku": 123_456}, "at": FLAT["at"]}
    nested_names = {"session": "event.user.id", "item": "event.sku", "time": "at"}
    iso = FLAT | {"at": "2023-11-14T22:13:20.123Z"}
    return {
        "json": as_json(FLAT, **NAMES),
        "json, nested": as_json(nested, **nested_names),
        "json, s": as_json(FLAT | {"at": 1_700_000_000.123}, **NAMES, time_format="s"),
        "json, us": as_json(FLAT | {"at": 1_700_000_000_123_456}, **NAMES, time_format="us"),
        "json, iso8601": as_json(iso, **NAMES, time_format="iso8601"),
        "json, $key and $timestamp": as_json(
            FLAT, session=RECORD_KEY, item="sku", time=RECORD_TIME
        ),
        "json, event id": as_json(FLAT, **NAMES, event_id="visitor"),
        "json, one extra field": as_json(FLAT, **NAMES, extra=("price",)),
    }


def avro_cases(folder: Path) -> dict[str, Case]:
    return {
        "avro, long": as_avro(folder, "long"),
        "avro, timestamp-millis": as_avro(folder, MILLIS),
        "avro, timestamp-micros": as_avro(folder, MICROS, 1000),
        "avro behind a schema id": as_avro(folder, "long", encoding="avro-registry"),
    }


def as_json(fields: dict[str, Any], **names: Any) -> Case:
    return Case(ClickFormat(**names), json.dumps(fields).encode(), json.loads)


def as_avro(folder: Path, time_type: Any, unit: int = 1, encoding: str = "avro") -> Case:
    types = {"visitor": "string", "sku": "long", "at": time_type, "price": ["null", "double"]}
    schema = {
        "type": "record",
        "name": "Visit",
        "fields": [{"name": name, "type": type_} for name, type_ in types.items()],
    }
    file = folder / f"{len(list(folder.iterdir()))}.avsc"
    file.write_text(json.dumps(schema))
    parsed = fastavro.parse_schema(schema | {"name": "Plain"})
    raw = json.loads(json.dumps(schema).replace(json.dumps(time_type), '"long"'))
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(raw), FLAT | {"at": FLAT["at"] * unit})
    header = b"\0\0\0\0\7" if encoding == "avro-registry" else b""
    skip = len(header)
    return Case(
        ClickFormat(encoding, **NAMES, avro_schema=file),
        header + buffer.getvalue(),
        lambda value: fastavro.schemaless_reader(io.BytesIO(value[skip:]), parsed, None),
    )


def measure(cases: dict[str, Case]) -> dict[str, tuple[float, float]]:
    """Best cost of a click in µs: our decoder's, and the plainest way's."""
    best: dict[str, list[float]] = {name: [1e9, 1e9] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            record = FakeRecord(case.value, b"0f8fad5b-d9cb-469f", timestamp=1_700_000_000_123)
            decode = ClickDecoder(case.format).decode
            best[name][0] = min(best[name][0], cost(decode, record))
            best[name][1] = min(best[name][1], cost(case.plain, case.value))
    return {name: (decode, plain) for name, (decode, plain) in best.items()}


def cost(work: Callable[[Any], object], argument: object) -> float:
    started = time.process_time_ns()
    for _ in range(CLICKS):
        work(argument)
    return (time.process_time_ns() - started) / CLICKS / 1000


if __name__ == "__main__":
    main()
