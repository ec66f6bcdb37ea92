"""Records of every size on the clicks topic, and topics of ours that take little: nobody stops."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from ader_stream.stream.kafka.limits import SMALLEST
from ader_stream.types import MINUTE_MS, Click
from tests.integration.simulated import expected_sessions
from tests.integration.system import Kafka, RawRecord, System

KIB, MIB = 1024, 1024 * 1024
LARGEST = 20 * MIB
LIMIT = "max.message.bytes"

SETTINGS = {
    "clicks": {"extra_fields": ["agent"], "check_times": False},
    "sessionizer": {
        "dead_letter_ratio": 1,
        "consecutive_dead_letters": 1000,
        "idle_timeout": "off",
    },
    "kafka": {"librdkafka": {"message.max.bytes": str(LARGEST + MIB)}},
}
VISITS, CLICKS_OF_BOT = 40, 2_000
AGENT = "Mozilla/5.0 " * 70
"""840 bytes."""


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    """A clicks topic that takes 20 MB, and topics of ours that take as little as is allowed."""
    with System(kafka.bootstrap_servers, tmp_path, SETTINGS, partitions=1) as system:
        admin, topics = system.clients.admin(), system.topics
        allow(admin, topics.clicks, LARGEST + MIB)
        for topic in (topics.sessions, topics.sessionizer_state, topics.dead_letters):
            allow(admin, topic, SMALLEST)
        yield system


def allow(admin: AdminClient, topic: str, size: int) -> None:
    entry = ConfigEntry(LIMIT, str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def record(click: Click, agent: str = AGENT, **more: str) -> RawRecord:
    value = {"session": click.key, "item": click.item, "time": click.time, "agent": agent} | more
    return RawRecord(click.key.encode(), json.dumps(value).encode(), timestamp=click.time)


def clicks_from(start: int) -> list[Click]:
    """Ordinary visits, and a bot whose clicks are more than a record of ours may have."""
    of_visits = [
        Click(f"visit-{n}", f"item-{n % 7}", start + n * MINUTE_MS // 10) for n in range(VISITS)
    ]
    of_bot = [Click("bot", f"item-{n % 7}", start + n * 100) for n in range(CLICKS_OF_BOT)]
    return sorted([*of_visits, *of_bot], key=lambda click: click.time)


def of_every_size(time: int) -> Iterator[RawRecord]:
    """What becomes a dead letter: no clicks, and clicks of which too much would be kept."""
    for size in (0, 1, 900, KIB, 100 * KIB, SMALLEST, MIB, 5 * MIB, LARGEST):
        yield RawRecord(b"blob", b"\xff" * size, timestamp=time)
        yield (
            record(Click("wordy", "hat", time), "a" * size)
            if size > 64 * KIB
            else RawRecord(b"wordy", b"{" * size, timestamp=time)
        )
    yield RawRecord(b"k" * MIB, b"no click", timestamp=time)
    yield RawRecord(b"h", b"no click", [("trace", b"t" * MIB)], timestamp=time)
    yield RawRecord(b"h", b"no click", [("trace", b"1")] * 20_000, timestamp=time)
    yield record(Click("v" * MIB, "hat", time))
    yield record(Click("visit", "i" * MIB, time))


@pytest.mark.timeout(600)
def test_no_record_of_any_size_ends_a_worker_or_costs_another_visitor_a_click(
    system: System,
) -> None:
    rule = system.settings.block_rule
    start = rule.start(0)
    clicks = clicks_from(start)
    refused = list(of_every_size(start))
    half = len(clicks) // 2
    worker = system.start("sessionizer")
    system.send_raw(map(record, clicks[:half]))
    system.send_raw(refused)
    system.wait_until(lambda: system.view.dead_letters == len(refused), "each is refused")
    worker.kill()
    worker = system.start("sessionizer")
    system.send_raw(map(record, clicks[half:]))
    system.end_block(0)
    system.wait_until_sessions_have(len(clicks))

    assert not worker.has_died()
    rows = system.sessions()
    assert sum(len(row.items) for row in rows) == len(clicks)
    plain = [row for row in rows if row.key != "bot"]
    assert plain == expected_sessions(rule, [c for c in clicks if c.key != "bot"])
    assert_the_letters_say_what_was_refused(system, refused)


def assert_the_letters_say_what_was_refused(system: System, refused: Sequence[RawRecord]) -> None:
    done = system.command("dead-letters", "list", "--json")
    assert done.returncode == 0, done.stderr
    letters = [json.loads(line) for line in done.stdout.splitlines()]
    sizes = Counter(len(record.value or b"") for record in refused)
    reported = Counter(
        (letter.get("truncated") or {}).get("value_bytes") or len(letter.get("value") or "")
        for letter in letters
    )
    assert len(letters) == len(refused)
    assert {size: reported[size] for size in sizes if size > MIB} == {
        size: count for size, count in sizes.items() if size > MIB
    }
    assert {letter["reason"] for letter in letters} >= {"malformed", "too-large"}
