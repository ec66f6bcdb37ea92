"""Clicks in other people's formats, and records that are no clicks at all."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pytest

from ader_stream.stream.avro.codec import decode
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.types import Click, Session
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import PARTITIONS, Kafka, RawRecord, System, Worker
from tests.registry import Registry, running_registry

SCHEMAS = Path(__file__).parents[2] / "schemas"
SCHEMA_ID = 7
VISIT = {
    "type": "record",
    "name": "Visit",
    "namespace": "shop",
    "fields": [
        {"name": "visitor", "type": "string"},
        {"name": "sku", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "price", "type": ["null", "double"], "default": None},
    ],
}
"""A schema as shops have it: other names, whole numbers, a logical type."""

VISIT_FIELDS = {"session_field": "visitor", "item_field": "sku", "time_field": "at"}

# --- the same clicks in several formats


class Format(NamedTuple):
    """Settings, and how a click is written."""

    settings: Mapping[str, Any]
    encode: Callable[[Click], bytes]


def clicks_with_numbers(system: System) -> list[Click]:
    """Clicks on items whose ids are decimal numbers."""
    blocks = simulated_clicks(system.settings.block_rule, blocks=2, walks=60)
    return [
        click._replace(item=click.item.removeprefix("item-")) for block in blocks for click in block
    ]


def as_json_visit(click: Click) -> bytes:
    visit = {"visitor": click.key, "sku": int(click.item), "at": click.time, "price": 9.5}
    return json.dumps(visit).encode()


def as_json_without_a_key(click: Click) -> bytes:
    return json.dumps({"item": click.item, "time": click.time}).encode()


def as_nested_json(click: Click) -> bytes:
    at = datetime.fromtimestamp(click.time / 1000, UTC).isoformat()
    event = {"user": {"id": click.key}, "sku": int(click.item)}
    return json.dumps({"event": event, "sent.at": at}).encode()


def as_json_without_a_time(click: Click) -> bytes:
    return json.dumps({"session": click.key, "item": click.item}).encode()


def as_our_avro(click: Click) -> bytes:
    schema = json.loads((SCHEMAS / "Click.avsc").read_text())
    return avro(schema, {"session": click.key, "item": click.item, "time": click.time})


def as_avro_visit(click: Click) -> bytes:
    return avro(VISIT, {"visitor": click.key, "sku": int(click.item), "at": click.time})


def as_registered_visit(click: Click, schema_id: int = SCHEMA_ID) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + as_avro_visit(click)


def avro(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


FORMATS = {
    "json": Format(VISIT_FIELDS, as_json_visit),
    "json-record-key": Format({"session_field": "$key"}, as_json_without_a_key),
    "json-nested-iso8601": Format(
        {
            "session_field": "event.user.id",
            "item_field": "event.sku",
            "time_field": r"sent\.at",
            "time_format": "iso8601",
        },
        as_nested_json,
    ),
    "json-record-timestamp": Format({"time_field": "$timestamp"}, as_json_without_a_time),
    "avro": Format({"format": "avro"}, as_our_avro),
    "avro-schema": Format(VISIT_FIELDS | {"format": "avro", "avro_schema": VISIT}, as_avro_visit),
    "avro-registry": Format(
        VISIT_FIELDS | {"format": "avro-registry", "avro_schema": VISIT}, as_registered_visit
    ),
}


@pytest.mark.parametrize("written", FORMATS.values(), ids=FORMATS.keys())
def test_clicks_of_any_format_become_the_same_sessions(
    kafka: Kafka, tmp_path: Path, written: Format
) -> None:
    settings = with_schema_file(written.settings, tmp_path / "visit.avsc")
    with System(kafka.bootstrap_servers, tmp_path, {"clicks": settings}) as system:
        clicks = clicks_with_numbers(system)
        system.start("sessionizer")
        system.send_raw(
            RawRecord(click.key.encode(), written.encode(click), timestamp=click.time)
            for click in clicks
        )
        end_blocks(system)
        system.wait_until_sessions_have(len(clicks))
        assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)
        assert system.view.dead_letters == 0


def with_schema_file(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Write the schema in the settings to a file, and name that instead."""
    if "avro_schema" not in settings:
        return dict(settings)
    path.write_text(json.dumps(settings["avro_schema"]))
    return {**settings, "avro_schema": str(path)}


def end_blocks(system: System, blocks: int = 2) -> None:
    for block in range(blocks):
        system.end_block(block)


def test_extra_fields_pass_through_untouched(kafka: Kafka, tmp_path: Path) -> None:
    settings = VISIT_FIELDS | {"extra_fields": ["price"]}
    with System(kafka.bootstrap_servers, tmp_path, {"clicks": settings}) as system:
        click = Click("a", "5", system.settings.block_rule.start(0))
        system.start("sessionizer")
        system.send_raw([RawRecord(b"a", as_json_visit(click))])
        end_blocks(system)
        system.wait_until_sessions_have(1)
        [session] = closed_sessions(system)
        assert session.extra == {0: {"price": "9.5"}}


def closed_sessions(system: System) -> Iterator[Session]:
    for record in system.records(system.topics.sessions):
        name, value = decode(record.value(), record.headers())
        if name == "SessionBatch":
            yield from decode_sessions(value)


# --- records that are no clicks


def poison(start: int) -> list[tuple[str, RawRecord]]:
    """Records that cannot be taken, each with its reason; `start` is where block 0 starts."""
    click = {"session": "a", "item": "b", "time": start}
    values = [
        ("malformed", b"{not json"),
        ("malformed", b"[1, 2]"),
        ("malformed", b"\xff\xfe"),
        ("missing-field", as_bytes({"session": "a", "time": start})),
        ("bad-value", as_bytes(click | {"time": "yesterday"})),
        ("bad-value", as_bytes(click | {"time": -1})),
        ("bad-value", as_bytes(click | {"item": None})),
        ("bad-value", as_bytes(click | {"session": "__partition__"})),
        ("late", as_bytes(click | {"session": "late"})),
    ]
    headers = [("trace", b"\x00\xff"), ("trace", b"again"), ("nothing", None)]
    records = [
        (reason, RawRecord(b"key-\xff-%d" % number, value, headers, number % 3, 1_000 + number))
        for number, (reason, value) in enumerate(values)
    ]
    heartbeat = RawRecord(None, None, [(WATERMARK_HEADER, b"soon")], 0, 5)
    return [*records, ("bad-value", heartbeat)]


def as_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def test_poison_becomes_dead_letters_with_all_that_is_needed_to_mend_it(
    kafka: Kafka, tmp_path: Path
) -> None:
    overrides = {"sessions": {"late": "dead-letter"}}
    with System(kafka.bootstrap_servers, tmp_path, overrides) as system:
        rule = system.settings.block_rule
        clicks = [Click(f"good-{n}", "shoe", rule.start(1) + n) for n in range(30)]
        system.start("sessionizer")
        system.send(clicks)
        records = poison(rule.start(0))
        system.send_raw(record for _, record in records)
        end_blocks(system)
        system.wait_until_sessions_have(len(clicks))
        system.wait_until(lambda: system.view.dead_letters == len(records), "all are refused")

        originals = {(r.partition(), r.offset()): r for r in system.records(system.topics.clicks)}
        letters = system.records(system.topics.dead_letters)
        for letter in letters:
            value = decode(letter.value(), letter.headers())[1]
            original = originals[value["partition"], value["offset"]]
            headers = [(header["name"], header["value"]) for header in value["headers"]]
            assert value["topic"] == system.topics.clicks
            assert (letter.partition(), letter.key()) == (original.partition(), original.key())
            assert (value["key"], value["value"]) == (original.key(), original.value())
            assert headers == original.headers()
            assert value["timestamp"] == original.timestamp()[1]
            assert value["error"]
        assert Counter(described(letters)) == Counter((r.key, reason) for reason, r in records)
        assert system.sessions() == expected_sessions(rule, clicks)


def described(letters: Sequence[Any]) -> Iterator[tuple[bytes | None, str]]:
    for letter in letters:
        value = decode(letter.value(), letter.headers())[1]
        yield value["key"], value["reason"]


def test_more_poison_than_the_ratio_allows_stops_the_process_before_it_commits(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        start = system.settings.block_rule.start(0)
        good = [Click(f"good-{n}", "shoe", start + n) for n in range(600)]
        poisoned = list(three_poisoned_of_five(good))
        system.send_raw(poisoned)
        stopped = system.start("sessionizer")
        assert stopped.wait() == 1
        lines = stopped.log.read_text().splitlines()
        reasons = [line for line in lines if line.startswith("ader-stream: ")]
        assert len(reasons) == 1
        assert "of the last 1000 clicks of partition 0 were refused" in reasons[0]
        assert "Traceback" not in stopped.log.read_text()
        refused_at = int(reasons[0].partition("at offset ")[2].split()[0])
        assert system.committed_offsets("sessionizer").get(0, 0) <= refused_at

        system.start("sessionizer", sessionizer={"dead_letter_ratio": 1})
        system.end_block(0)
        system.wait_until_sessions_have(len(good))
        assert system.sessions() == expected_sessions(system.settings.block_rule, good)
        assert len(system.records(system.topics.dead_letters)) == len(poisoned) - len(good)


def three_poisoned_of_five(good: Sequence[Click]) -> Iterator[RawRecord]:
    for number, click in enumerate(good):
        value = as_bytes({"session": click.key, "item": click.item, "time": click.time})
        yield RawRecord(click.key.encode(), value, partition=0)
        for _ in range(1 + number % 2):
            yield RawRecord(b"bad", b"poison", partition=0)


# --- a schema registry


def test_a_registry_gives_the_schema_and_an_unknown_one_makes_a_dead_letter(
    kafka: Kafka, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush")
    with running_registry() as registry:
        registry.require_basic("me", "hush")
        id_ = registry.register("clicks-value", VISIT)
        sign_in = {"registry_user": "me", "registry_password_file": str(secret)}
        settings = registry_settings(registry) | sign_in
        with System(kafka.bootstrap_servers, tmp_path, {"clicks": settings}) as system:
            click = Click("a", "5", system.settings.block_rule.start(0))
            system.start("sessionizer")
            values = (as_registered_visit(click, id_), as_registered_visit(click, id_ + 1))
            system.send_raw(RawRecord(b"a", value) for value in values)
            end_blocks(system)
            system.wait_until_sessions_have(1)
            system.wait_until(lambda: system.view.dead_letters == 1, "the unknown one is refused")
            assert system.sessions() == expected_sessions(system.settings.block_rule, [click])
            [(_, reason)] = described(system.records(system.topics.dead_letters))
            assert reason == "unknown-schema"


def test_clicks_wait_for_a_registry_that_is_away_and_their_worker_stays_in_its_group(
    kafka: Kafka, tmp_path: Path
) -> None:
    limits = {"max.poll.interval.ms": f"{POLL_INTERVAL_SECONDS}000", "session.timeout.ms": "6000"}
    overrides = {"kafka": {"librdkafka": limits}}
    with running_registry() as registry:
        known, other = (registry.register("clicks-value", VISIT) for _ in range(2))
        overrides["clicks"] = registry_settings(registry)
        with System(kafka.bootstrap_servers, tmp_path, overrides) as system:
            clicks = clicks_with_numbers(system)
            first = system.start("sessionizer")
            system.send_raw(in_turn(clicks[:60], [known]))
            system.wait_until(lambda: first.metric("ader_clicks_total") == 60, "60 are read")
            registry.stop()
            away_since = time.monotonic()
            system.send_raw(in_turn(clicks[60:], [known, known, other]))
            end_blocks(system)
            system.wait_until(lambda: waiting(first) == PARTITIONS, "every partition waits")
            second = system.start("sessionizer")
            system.wait_until(lambda: waiting(second) > 0, "partitions are handed over")
            system.wait_until(lambda: waiting(first) < PARTITIONS, "and given up")
            system.wait_until(
                lambda: time.monotonic() - away_since > POLL_INTERVAL_SECONDS + 2, "time passes"
            )
            registry.start()
            system.wait_until_sessions_have(len(clicks))
            assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)
            system.wait_until(lambda: waiting(first) + waiting(second) == 0, "nobody waits")
            assert system.view.dead_letters == 0
            assert first.logged("MAX_POLL_EXCEEDED") + first.logged("joins again") == 0


POLL_INTERVAL_SECONDS = 7
"""A consumer that does not poll for so long is put out of its group."""


def registry_settings(registry: Registry) -> dict[str, Any]:
    return VISIT_FIELDS | {"format": "avro-registry", "registry_url": registry.url}


def in_turn(clicks: Sequence[Click], ids: Sequence[int]) -> Iterator[RawRecord]:
    """Clicks written with several schemas in turn."""
    for click, id_ in zip(clicks, cycle(ids), strict=False):
        yield RawRecord(click.key.encode(), as_registered_visit(click, id_))


def waiting(worker: Worker) -> float:
    return worker.metric("ader_waiting_partitions")
