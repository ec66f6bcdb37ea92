"""What is wrong between us and a cluster: topics, schemas, and how clicks are partitioned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.stream.kafka.codec import SCHEMA_HEADER, encode
from tests.integration.system import Kafka, RawRecord, System
from tests.integration.test_dead_letters import as_record, clicks_of


def findings(system: System, **overrides: Any) -> dict[str, list[str]]:
    """What doctor says, by level."""
    done = system.command("doctor", "--json", **overrides)
    found: dict[str, list[str]] = {"ok": [], "warning": [], "error": []}
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        found[finding["level"]].append(finding["text"])
    assert done.returncode == (1 if found["error"] else 0)
    return found


def configure(system: System, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = system.clients.admin()  # kept: without it, the answer would not come
    [future] = admin.incremental_alter_configs([resource]).values()
    future.result()


def test_doctor_says_what_is_wrong_with_the_clicks_and_the_topics(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        clicks = clicks_of(system, 20)
        system.send_raw(as_record(click, click.time) for click in clicks)
        sound = findings(system)
        assert sound["error"] == []
        assert any("each of 20 session keys keeps to one partition" in f for f in sound["ok"])

        for partition in range(system.partitions):
            value = as_record(clicks[0], clicks[0].time).value
            system.send_raw([RawRecord(None, value, partition=partition)])
        configure(system, system.topics.sessions, "retention.ms", "604800000")
        configure(system, system.topics.clicks, "message.timestamp.type", "LogAppendTime")
        of_records = {"clicks": {"time_field": "$timestamp"}}
        wrong = findings(system, **of_records)
        [config, scattered] = wrong["error"]
        assert "sessions: retention.ms=604800000 (expected -1)" in config
        assert "1 of 20 session keys sampled stand in several partitions, 'visit-0'" in scattered
        assert any("LogAppendTime" in text for text in wrong["warning"])
        nowhere = f"http://{HOST}:{free_port()}"
        registered = {"clicks": {"format": "avro-registry", "registry_url": nowhere}}
        by_id = RawRecord(b"a", b"\0\0\0\0\1")
        system.send_raw([by_id] * 3)
        wrong = findings(system, **registered)
        assert any(f"schema registry {nowhere} does not answer" in t for t in wrong["error"])
        checked = system.command("topics", "check")
        assert checked.returncode == 1
        assert "retention.ms=604800000" in checked.stderr


def test_schemas_that_cannot_be_read_here_are_told(kafka: Kafka, tmp_path: Path) -> None:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        system.start("sessionizer")
        system.send_raw(as_record(click, click.time) for click in clicks_of(system, 20))
        system.end_block(0)
        system.wait_until_sessions_have(20)
        sound = system.command("schemas", "check", "--json")
        assert sound.returncode == 0, sound.stderr
        uses = [json.loads(line) for line in sound.stdout.splitlines()]
        assert {use["state"] for use in uses} == {"current"}
        assert {"SessionBatch", "BlockEnd", "PartitionState"} <= {use["type"] for use in uses}

        value, headers = encode("Replayed", {"offsets": [1]})
        newer = [(name, b"0" * 16 if name == SCHEMA_HEADER else text) for name, text in headers]
        producer = system.clients.producer()
        producer.produce(system.topics.dead_letters, value, headers=newer, partition=1)
        producer.flush()
        wrong = system.command("schemas", "check")
        assert wrong.returncode == 1
        [line] = [line for line in wrong.stdout.splitlines() if line.startswith("unreadable")]
        assert "Replayed 0000000000000000  1 records: partition 1, offset " in line
        assert "update this process" in line
