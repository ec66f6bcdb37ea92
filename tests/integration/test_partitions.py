"""Partitions that fall silent, hold nothing, come later, or are not the ones that were read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions, NewTopic
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.stream.avro.codec import decode
from ader_stream.stream.clicks.decoder import encode_click
from ader_stream.stream.exactly_once import takeover_thread as takeovers
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.exactly_once.takeover import OpenTasks, Taking
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.topics.topics import partition_counts
from ader_stream.stream.transactions.producer import TransactionalProducer
from ader_stream.types import DAY_MS, HOUR_MS, Click
from tests.integration.system import WAIT_SECONDS, Kafka, System

FAST = {"kafka": {"librdkafka": {"topic.metadata.refresh.interval.ms": "500"}}}
IDLE_SECONDS = 1.0
IDLE = {"sessionizer": {"idle_timeout": "1s"}}


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        yield system


def send(system: System, partition: int, *clicks: Click) -> None:
    producer = system.clients.producer()  # a new one: it knows what partitions there are now
    for click in clicks:
        value = encode_click(click, system.settings.click_format)
        at = click.time + 1  # written as it happened: nobody has to confirm it
        producer.produce(system.topics.clicks, value, partition=partition, timestamp=at)
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


def test_a_partition_with_an_open_transaction_follows_no_other_one(system: System) -> None:
    day = system.settings.block_rule.start(10)
    worker = system.start("sessionizer", **IDLE)
    send(system, 0, Click("quiet", "x", day + HOUR_MS))
    system.wait_until(lambda: system.committed_offsets("sessionizer").get(0) == 1, "one click")
    time.sleep(IDLE_SECONDS)  # it is at its end, and says so
    batch = system.clients.producer("somebody-else")
    batch.init_transactions(WAIT_SECONDS)
    batch.begin_transaction()
    second = Click("quiet", "y", day + HOUR_MS + 1)
    value = encode_click(second, system.settings.click_format)
    batch.produce(system.topics.clicks, value, partition=0, timestamp=second.time + 1)
    assert batch.flush(WAIT_SECONDS) == 0
    send(system, 1, Click("busy", "y", day + HOUR_MS), Click("busy", "z", day + DAY_MS))
    system.wait_until(lambda: ended_blocks(system, 10) == {1, 2}, "the empty one has followed")
    time.sleep(3 * IDLE_SECONDS)
    assert ended_blocks(system, 10) == {1, 2}
    batch.commit_transaction(WAIT_SECONDS)
    system.wait_until(lambda: ended_blocks(system, 10) == {0, 1, 2}, "the block has ended")
    assert ("quiet", ("x", "y")) in {(row.key, row.items) for row in system.sessions()}
    assert worker.metric("ader_late_clicks_total") == 0


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


def test_a_topic_that_was_deleted_and_made_again_says_so(system: System) -> None:
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
    assert successor.logged("was deleted and created again")
    assert not system.sessions()


class NoTask:
    """Reads, and makes nothing of it."""

    def place(self, committed: Committed | None, extent: Extent) -> Committed | None:
        return committed

    def restore(self, place: Committed, first: int) -> int:
        return place.offset

    def begin(self) -> None:
        pass

    def process(self, records: list[Record]) -> None:
        pass

    def write(self, transaction: Transaction, next_offset: int) -> str:
        return ""

    def committed(self) -> None:
        pass

    def tick(self, *, is_at_end: bool) -> None:
        pass

    def is_dirty(self) -> bool:
        return False


def test_a_request_that_fails_while_partitions_are_taken_is_made_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client's C code raises in a callback is an exception once it comes out."""
    owned, failed = Taking.producers, list[int]()

    def impatient(
        taking: Taking, partitions: Collection[int], kept: Any
    ) -> dict[int, TransactionalProducer]:
        producers = owned(taking, partitions, kept)
        if not failed:
            failed.extend(partitions)
            producers[0].client.init_transactions(1e-6)  # it has done so: an error
        return producers

    monkeypatch.setattr(Taking, "producers", impatient)
    loop = loop_of(system, lambda partitions, _: {p: NoTask() for p in partitions})
    run_until(loop, lambda: loop.partitions == [0, 1, 2])
    assert (failed, loop.restoring) == ([0, 1, 2], 0)


def test_partitions_that_are_held_continue_while_others_are_restored(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeovers, "AT_ONCE", 1)
    is_committed = threading.Event()

    def open_tasks(partitions: Collection[int], _: object) -> dict[int, NoTask]:
        if 0 not in partitions:
            assert is_committed.wait(WAIT_SECONDS), "partition 0 has not gone on"
        return {partition: NoTask() for partition in partitions}

    send(system, 0, Click("a", "x", 0))
    loop = loop_of(system, open_tasks)

    def has_all() -> bool:
        if loop.partitions == [0] and system.committed_offsets("sessionizer").get(0) == 1:
            assert loop.restoring == 2
            is_committed.set()
        return loop.partitions == [0, 1, 2]

    run_until(loop, has_all)
    assert is_committed.is_set()


def loop_of(system: System, open_tasks: OpenTasks) -> ExactlyOnceLoop:
    config = LoopConfig(system.topics.clicks, system.topics.group("sessionizer"))
    return ExactlyOnceLoop(
        system.clients, config, open_tasks, Metrics(CollectorRegistry()), lambda _: None
    )


def run_until(loop: ExactlyOnceLoop, condition: Callable[[], bool]) -> None:
    gives_up_at = time.monotonic() + WAIT_SECONDS
    was_met: list[bool] = []

    def should_stop() -> bool:
        if condition():
            was_met.append(True)
        return bool(was_met) or time.monotonic() > gives_up_at

    loop.run(should_stop, lambda: None)
    assert was_met
