"""What doctor finds before a worker starts, on a real broker, and the exit code that it leaves."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.types import DAY_MS, MINUTE_MS
from tests.integration.system import Kafka, RawRecord, System
from tests.integration.test_dead_letters import as_record, clicks_of

CHECKED = {"clicks": {"check_times": True}, "sessionizer": {"idle_timeout": "1m"}}
EXIT_CODES = {"ok": 0, "warning": 0, "waiting": 3, "error": 1}
NOW = int(time.time() * 1000)

Finding = Mapping[str, Any]


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path, CHECKED) as system:
        yield system


def examine(system: System, **overrides: Any) -> dict[str, list[str]]:
    """What doctor says, by level: text and remedy; its exit code is that of the gravest."""
    done = system.command("doctor", "--json", **overrides)
    found: dict[str, list[str]] = {level: [] for level in EXIT_CODES}
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        found[finding["level"]].append(f"{finding['text']} → {finding['remedy']}")
    assert done.returncode == max(
        (EXIT_CODES[level] for level in found if found[level]), key=(0, 3, 1).index
    )
    assert "Traceback" not in done.stderr
    return found


def visits(count: int, at: int = NOW - DAY_MS) -> Iterator[dict[str, Any]]:
    """Three clicks each, one visit after the other."""
    for n in range(3 * count):
        yield {
            "session": f"visit-{n // 3}",
            "item": f"sku-{n % 7}",
            "time": at + n * 15 * MINUTE_MS,
        }


def send(system: System, *values: Mapping[str, Any] | bytes | None, **fields: Any) -> None:
    system.send_raw(
        RawRecord(
            str(value["session"]).encode() if isinstance(value, Mapping) else b"visit-0",
            json.dumps(value).encode() if isinstance(value, Mapping) else value,
            **fields,
        )
        for value in values
    )


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
        sound = examine(system)
        assert sound["error"] == []
        assert any("each of 20 session keys keeps to one partition" in f for f in sound["ok"])

        for partition in range(system.partitions):
            value = as_record(clicks[0], clicks[0].time).value
            system.send_raw([RawRecord(None, value, partition=partition)])
        configure(system, system.topics.sessions, "retention.ms", "604800000")
        configure(system, system.topics.clicks, "message.timestamp.type", "LogAppendTime")
        of_records = {"clicks": {"time_field": "$timestamp"}}
        wrong = examine(system, **of_records)
        [config, scattered] = wrong["error"]
        assert "sessions: retention.ms=604800000 (expected -1)" in config
        assert "1 of 20 session keys sampled are in several partitions, 'visit-0'" in scattered
        assert any("LogAppendTime" in text for text in wrong["warning"])
        nowhere = f"http://{HOST}:{free_port()}"
        registered = {"clicks": {"format": "avro-registry", "registry_url": nowhere}}
        by_id = RawRecord(b"a", b"\0\0\0\0\1")
        system.send_raw([by_id] * 3)
        wrong = examine(system, **registered)
        assert any("wait for the schema registry" in t for t in wrong["warning"])
        checked = system.command("topics", "check")
        assert checked.returncode == 1
        assert "retention.ms=604800000" in checked.stderr


def test_clicks_that_become_sessions_are_all_that_doctor_asks_for(system: System) -> None:
    send(system, *visits(30))
    found = examine(system)
    assert (found["error"], found["waiting"], found["warning"]) == ([], [], [])
    assert any("all 90 records of 3 partitions: 90 clicks" in text for text in found["ok"])
    assert any("sessions that close: " in text for text in found["ok"])


def test_what_doctor_counts_is_what_the_sessionizer_does(system: System) -> None:
    values = [*visits(30), None, None, b"poison", {"query": "shoe", "session": "visit-1"}]
    send(system, *values)
    done = system.command("doctor", "--json", sessionizer={"idle_timeout": "off"})
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    details = {name: f["details"][name] for f in findings for name in f["details"]}
    worker = system.start("sessionizer", sessionizer={"idle_timeout": "off"})
    counted = {
        "records": "ader_clicks_total",
        "refused": "ader_dead_letters_total",
        "tombstones": "ader_ignored_records_total",
        "closed": "ader_sessions_total",
        "open": "ader_open_sessions",
    }
    assert (details["records"], details["refused"], details["tombstones"]) == (len(values), 2, 2)
    for name, metric in counted.items():
        expected = details[name]
        system.wait_until(lambda m=metric, e=expected: worker.metric(m) == e, f"{name}: {expected}")


def test_a_wrong_unit_is_named(system: System) -> None:
    send(system, *(value | {"time": value["time"] // 1000} for value in visits(30)))
    [error] = examine(system)["error"]
    assert "1,000 times too small" in error
    assert error.endswith("set clicks.time_format = s")


def test_a_first_try_by_hand_is_shown_what_it_waits_for(system: System) -> None:
    send(system, *visits(1), partition=0)
    found = examine(system)
    assert found["error"] == []
    assert any("event time has reached" in text for text in found["waiting"])


def test_an_empty_topic_gives_no_session(system: System) -> None:
    found = examine(system)
    assert found["error"] == []
    assert any("holds no records that can be read yet" in text for text in found["waiting"])


def test_a_mixed_topic_would_stop_the_worker(system: System) -> None:
    searches = [{"session": f"visit-{n % 90}", "query": "shoe"} for n in range(2_000)]
    send(system, *visits(30), *searches, partition=0)
    errors = examine(system)["error"]
    assert any("the sessionizer would stop: 501 clicks in a row" in text for text in errors)
    worker = system.start("sessionizer")
    assert worker.wait() == 1
    assert worker.logged("501 clicks in a row") == 1


def test_clicks_behind_an_open_transaction_are_no_reason_to_hang(system: System) -> None:
    send(system, *visits(20))
    producer = system.clients.producer(f"test-{uuid.uuid4().hex}", transaction_timeout_ms=60_000)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(system.topics.clicks, b"{}", b"visit-0")
    producer.flush(30)
    found = examine(system)
    producer.abort_transaction(30)
    assert any("60 clicks" in text for text in found["ok"])


def test_names_policies_and_contents_that_are_no_topic_of_clicks(system: System) -> None:
    topic = f"{system.topics.prefix}.web.clicks"
    admin = system.clients.admin()
    new = NewTopic(topic, 1, config={"cleanup.policy": "compact"})
    for future in admin.create_topics([new]).values():
        future.result()
    missing = examine(system, clicks={"topic": f"{system.topics.prefix}.web.clikcs"})
    assert any("no such topic" in text for text in missing["error"])

    producer = system.clients.producer()
    for value in visits(5):
        producer.produce(topic, json.dumps(value).encode(), b"visit")
    assert producer.flush(30) == 0
    near = examine(system, clicks={"topic": f"{system.topics.prefix}.web.clikcs"})
    assert any(f"did you mean {topic}" in text for text in near["error"])
    compacted = examine(system, clicks={"topic": topic})
    assert any("cleanup.policy=compact: of all records" in text for text in compacted["error"])
    ours = system.command("doctor", clicks={"topic": system.topics.sessions})
    assert (ours.returncode, ours.stdout, len(ours.stderr.splitlines())) == (2, "", 1)


def test_no_broker_is_one_line(system: System) -> None:
    nowhere = {"bootstrap_servers": f"{HOST}:{free_port()}"}
    [error] = examine(system, kafka=nowhere)["error"]
    assert nowhere["bootstrap_servers"] in error


def test_what_workers_have_left_behind_is_compared_with_what_is_there(system: System) -> None:
    send(system, *visits(30), partition=0)
    worker = system.start("sessionizer")
    system.wait_until(
        lambda: system.committed_offsets("sessionizer").get(0, 0) >= 90, "all is read"
    )
    running = examine(system, blocks={"length": "7d"})
    assert any("a sessionizer is running" in text for text in running["ok"])
    assert any("blocks are cut with blocks.length = 1d" in text for text in running["error"])
    worker.terminate()
    worker.wait()
    assert any("open sessions, made by the current rules" in text for text in examine(system)["ok"])
    changed = examine(system, blocks={"length": "7d"})["error"]
    assert changed
    for text in changed:
        assert "blocks.length = 7d" in text
        assert "1d" in text

    send(system, *visits(3), partition=0)
    place = TopicPartition(system.topics.clicks, 0, 99)
    admin = system.clients.admin()
    [future] = admin.delete_records([place]).values()
    future.result()
    [lost] = examine(system)["error"]
    assert "were deleted before this worker had read them" in lost
    assert "offsets skip --yes" in lost
