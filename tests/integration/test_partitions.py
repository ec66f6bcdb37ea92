"""Partitions that fall silent, hold nothing, come later, or are not the ones that were read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic

from ader_stream.stream.clicks.decoder import encode_click
from ader_stream.stream.kafka.codec import decode
from ader_stream.stream.kafka.exactly_once import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.kafka.partition_task import Held
from ader_stream.stream.kafka.taking import Taking
from ader_stream.stream.kafka.topics import partition_counts
from ader_stream.types import DAY_MS, HOUR_MS, Click
from tests.integration.system import WAIT_SECONDS, Kafka, System

FAST = {"kafka": {"librdkafka": {"topic.metadata.refresh.interval.ms": "500"}}}
IDLE = {"sessionizer": {"idle": "1s"}}


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        yield system


def send(system: System, partition: int, *clicks: Click) -> None:
    producer = system.clients.producer()  # a new one: it knows what partitions there are now
    for click in clicks:
        value = encode_click(click, system.settings.click_format)
        producer.produce(system.topics.clicks, value, partition=partition)
    assert producer.flush(WAIT_SECONDS) == 0


def ended_blocks(system: System, block: int) -> set[int]:
    """Partitions that have ended a block."""
    records = [decode(r.value(), r.headers()) for r in system.records(system.topics.sessions)]
    return {
        value["partition"]
        for name, value in records
        if name == "BlockEnd" and value["block"] >= block
    }


def advances(system: System) -> list[dict[str, int]]:
    records = [decode(r.value(), r.headers()) for r in system.records(system.topics.sessions)]
    return [value for name, value in records if name == "IdleAdvance"]


def test_windows_close_on_idle_and_empty_partitions(system: System) -> None:
    rule = system.settings.block_rule
    day = rule.start(10)
    worker = system.start("sessionizer", **IDLE)
    send(system, 0, Click("quiet", "x", day + HOUR_MS))
    system.wait_until(lambda: system.committed_offsets("sessionizer").get(0) == 1, "one click")
    send(system, 1, Click("busy", "y", day + HOUR_MS), Click("busy", "z", day + DAY_MS))
    system.wait_until(lambda: ended_blocks(system, 10) == {0, 1, 2}, "the block has ended")
    assert [row.key for row in system.sessions()] == ["busy", "quiet"]
    logged = {(one["partition"], one["next_offset"]) for one in advances(system)}
    assert logged >= {(0, 1), (2, 0)}
    assert worker.metric("ader_idle_advances_total") == len(advances(system))


def test_inference_counts_a_late_click_where_the_sessionizer_has_put_it(system: System) -> None:
    """It cannot know by itself that the quiet partition has followed the busy one."""
    day = system.settings.block_rule.start(10)
    system.start("inference", **IDLE)
    system.start("sessionizer", **IDLE)
    send(system, 0, Click("quiet", "x", day + HOUR_MS))
    send(system, 1, Click("busy", "y", day + HOUR_MS), Click("busy", "z", day + DAY_MS))
    system.wait_until(lambda: ended_blocks(system, 10) == {0, 1, 2}, "the block has ended")
    send(system, 0, Click("quiet", "late", day + HOUR_MS))
    system.wait_until_scored(4)
    clicks = {(key.block, key.partition): score.clicks for key, score in system.scores().items()}
    assert clicks == {(10, 0): 1, (11, 0): 1, (10, 1): 1, (11, 1): 1}


def test_a_partition_added_while_running_is_read_and_its_blocks_are_waited_for(
    system: System,
) -> None:
    system.start("sessionizer", **FAST)
    day = system.settings.block_rule.start(10)
    send(system, 0, Click("a", "x", day))
    system.wait_until(lambda: system.committed_offsets("sessionizer").get(0) == 1, "one click")
    admin, clicks = system.clients.admin(), system.topics.clicks
    [future] = admin.create_partitions([NewPartitions(clicks, 4)]).values()
    future.result(30)
    system.wait_until(lambda: partition_counts(admin)[clicks] == 4, "a fourth partition")
    send(system, 3, Click("d", "x", day), Click("d", "y", day + DAY_MS))
    system.wait_until(lambda: 3 in ended_blocks(system, 10), "the new partition is read")
    assert [row.key for row in system.sessions()] == ["d"]
    assert partition_counts(admin)[system.topics.dead_letters] == 4


def test_a_topic_that_was_deleted_and_made_anew_says_so(system: System) -> None:
    worker = system.start("sessionizer", **FAST)
    day = system.settings.block_rule.start(10)
    send(system, 0, *[Click("a", f"x{n}", day) for n in range(5)])
    system.wait_until(lambda: system.committed_offsets("sessionizer").get(0) == 5, "five clicks")
    admin, clicks = system.clients.admin(), system.topics.clicks
    for future in admin.delete_topics([clicks]).values():
        future.result(30)
    assert worker.wait() == 1
    assert worker.logged("no such topic") or worker.logged("offset to read from is gone")
    system.wait_until(lambda: clicks not in partition_counts(admin), "the topic is gone")
    for future in admin.create_topics([NewTopic(clicks, system.partitions)]).values():
        future.result(30)
    system.wait_until(lambda: clicks in partition_counts(admin), "the topic is back")
    send(system, 0, *[Click("b", f"y{n}", day) for n in range(9)])
    successor = system.start("sessionizer", **FAST)
    assert successor.wait() == 1
    assert successor.logged("was deleted and made anew")
    assert not system.sessions()


class NoTask:
    """Reads, and makes nothing of it."""

    def restore(self, next_offset: int, metadata: str, *, is_committed: bool) -> int:
        return next_offset

    def tick(self, *, is_at_end: bool) -> None:
        pass

    def is_dirty(self) -> bool:
        return False


def test_a_request_that_fails_while_partitions_are_taken_is_made_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client's C code raises in a callback is an exception once it comes out."""
    took, failed = Taking.restored, list[int]()

    def impatient(taking: Taking, consumer: Consumer, partition: int, producer: Producer) -> Held:
        if not failed:
            failed.append(partition)
            consumer.committed([TopicPartition(taking.topic, partition)], timeout=1e-6)
        return took(taking, consumer, partition, producer)

    monkeypatch.setattr(Taking, "restored", impatient)
    config = LoopConfig(system.topics.clicks, system.topics.group("sessionizer"))
    loop = ExactlyOnceLoop(
        system.clients, config, lambda _: NoTask(), lambda *_: None, lambda _: None
    )
    gives_up_at = time.monotonic() + WAIT_SECONDS
    held: list[int] = []

    def should_stop() -> bool:
        held[:] = held or loop.partitions
        return bool(held) or time.monotonic() > gives_up_at

    loop.run(should_stop, lambda: None)
    assert (len(failed), held) == (1, [0, 1, 2])
