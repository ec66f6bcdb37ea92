"""Wrong clocks move nobody else's time, and an operator can correct what they have moved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from ader_stream.stream.avro.codec import decode
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, BlockRule, Click
from tests.integration.simulated import expected_sessions
from tests.integration.system import Kafka, RawRecord, System

NOW = int(time.time() * 1000)
LAST_NIGHT = BlockRule(0, DAY_MS).start(BlockRule(0, DAY_MS).block_of(NOW)) - 12 * HOUR_MS
"""A time on the day before today, far from the ends of blocks."""


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path, partitions=2) as system:
        any_time = ConfigEntry(
            "message.timestamp.after.max.ms",
            str(2**62),
            incremental_operation=AlterConfigOpType.SET,
        )
        topic = ConfigResource(
            ResourceType.TOPIC, system.topics.clicks, incremental_configs=[any_time]
        )
        admin = system.clients.admin()
        [altered] = admin.incremental_alter_configs([topic]).values()
        altered.result(30)
        yield system


def visits(partition: int, start: int) -> list[Click]:
    """Honest clicks of a partition: a few visits a quarter of an hour apart."""
    return [
        Click(f"visitor-{partition}-{n % 7}", f"item-{n % 5}", start + n * 5 * MINUTE_MS)
        for n in range(60)
    ]


def record(click: Click, partition: int, written_at: int) -> RawRecord:
    value = {"session": click.key, "item": click.item, "time": click.time}
    return RawRecord(None, json.dumps(value).encode(), None, partition, written_at)


def heartbeats(watermark: int) -> Iterable[RawRecord]:
    headers: list[tuple[str, bytes | None]] = [("ader-watermark", str(watermark).encode())]
    return [RawRecord(None, None, headers, partition) for partition in (0, 1)]


def letters(system: System) -> list[str]:
    found = system.records(system.topics.dead_letters)
    return sorted(decode(r.value(), r.headers())[1]["reason"] for r in found)


def test_wrong_clocks_move_nobody_elses_time_wherever_they_stand(system: System) -> None:
    """The first click of partition 0 is from 2036; in partition 1 event times are copied into the
    records' timestamps, and one phone is ten years ahead, too: the clock alone can know."""
    worker = system.start("sessionizer")
    inference = system.start("inference")
    system.wait_until_holding(worker, inference)
    honest = {partition: visits(partition, LAST_NIGHT) for partition in (0, 1)}
    later = NOW + 3650 * DAY_MS
    system.send_raw([record(Click("kiosk", "x", later), 0, NOW)])
    system.send_raw(record(click, 0, click.time + MINUTE_MS) for click in honest[0])
    half = len(honest[1]) // 2
    system.send_raw(record(click, 1, click.time) for click in honest[1][:half])
    system.send_raw([record(Click("phone", "x", later), 1, later)])
    system.send_raw(record(click, 1, click.time) for click in honest[1][half:])
    system.send_raw(heartbeats(LAST_NIGHT + DAY_MS))
    clicks = sum(map(len, honest.values()))
    system.wait_until_sessions_have(clicks)
    system.wait_until_scored(clicks)
    rule = system.settings.block_rule
    assert system.sessions() == expected_sessions(rule, [*honest[0], *honest[1]])
    assert letters(system) == ["future", "future"]
    assert system.clicks_scored() == clicks


def test_the_reset_of_a_watermark_lets_clicks_have_their_own_times_again(system: System) -> None:
    """Without the bound a wrong clock moves both partitions; the command that corrects it runs
    while the sessionizer does."""
    unbounded = {"clicks": {"max_ahead": "0ms", "max_jump": "0ms"}}
    worker = system.start("sessionizer", sessionizer={"idle_timeout": "1s"}, **unbounded)
    system.wait_until_holding(worker)
    first, second = (visits(0, LAST_NIGHT + step) for step in (-DAY_MS, 0))
    later = NOW + 30 * DAY_MS
    system.send_raw(record(click, 0, NOW) for click in [*first, Click("kiosk", "x", later)])
    system.wait_until(lambda: worker.metric("ader_watermark_seconds") >= later / 1000, "a jump")

    watermark = str(first[-1].time)
    shown = system.command("watermark", "reset", "--to", watermark)
    assert "nothing was changed" in shown.stdout, shown
    done = system.command("watermark", "reset", "--to", watermark, "--yes")
    assert done.returncode == 0, done.stderr
    places = system.command("watermark", "show", "--json").stdout.splitlines()
    assert json.loads(places[0])["watermark"] == first[-1].time

    system.send_raw(record(click, 0, NOW) for click in second)
    system.send_raw(heartbeats(LAST_NIGHT + DAY_MS))
    rule = system.settings.block_rule
    system.wait_until(
        lambda: (
            {row.key for row in system.sessions()} >= {click.key for click in second}
            and len([row for row in system.sessions() if row.key != "kiosk"])
            == len(expected_sessions(rule, [*first, *second]))
        ),
        "sessions of both days",
    )
    found = [row for row in system.sessions() if row.key != "kiosk"]
    assert found == expected_sessions(rule, [*first, *second])
