from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import CollectorRegistry

from ader_stream import metrics as m
from ader_stream.errors import FencedError, NameInUseError, TopicError
from ader_stream.metrics import Metrics
from ader_stream.stream.exactly_once import loop as exactly_once
from ader_stream.stream.exactly_once.commit import abort_failed, commit_side_by_side
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.exactly_once.partition_task import AssignedPartition
from ader_stream.stream.groups import membership
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.topics.identity import TopicIdentity
from ader_stream.stream.transactions.producer import TransactionalProducer
from tests.fakes import FakeKafka, FakeProducer, FakeReader, FakeRecord

RETRIABLE = KafkaError(KafkaError._TIMED_OUT, retriable=True)
FINAL = KafkaError(KafkaError._TIMED_OUT, txn_requires_abort=True)


@pytest.mark.parametrize(
    "error",
    [KafkaError(KafkaError._FENCED, "by another", fatal=True), RETRIABLE],
    ids=["fenced", "cut off"],
)
def test_nothing_of_a_lost_producer_is_on_its_way_when_it_goes(error: KafkaError) -> None:
    producer = FakeProducer(FakeKafka())
    with pytest.raises(FencedError, match=re.escape(f"partition 1 is lost: {error.str()}")):
        abort_failed(
            "clicks",
            1,
            AssignedPartition(FakeTask(), TransactionalProducer(producer), 0, 0),
            KafkaException(error),
        )
    assert producer.is_settled


def test_a_producer_that_cannot_abort_is_lost() -> None:
    producer = FakeProducer(FakeKafka(), abort_failure=FINAL)
    with pytest.raises(FencedError, match="the producer of partition 1 is lost"):
        abort_failed(
            "clicks",
            1,
            AssignedPartition(FakeTask(), TransactionalProducer(producer), 0, 0),
            KafkaException(FINAL),
        )
    assert producer.is_settled


def same() -> Callable[[], None]:
    """The topic is the one that was read."""
    return lambda: None


class FakeTask:
    """Has something to write."""

    commits = 0

    def write(self, transaction: Transaction, next_offset: int) -> str:
        return f"up to {next_offset}"

    def committed(self) -> None:
        self.commits += 1


@dataclass
class CommittingProducer:
    """Commits unless that fails."""

    error: KafkaError | None = None
    offsets: list[TopicPartition] = field(default_factory=list)

    def begin_transaction(self) -> None:
        pass

    def produce(self, *_: object) -> None:
        pass

    def send_offsets_to_transaction(
        self, offsets: list[TopicPartition], group: str, timeout: float
    ) -> None:
        self.offsets += offsets

    def commit_transaction(self, timeout: float) -> None:
        if self.error:
            raise KafkaException(self.error)


def committing(error: KafkaError | None = None) -> TransactionalProducer:
    return TransactionalProducer(CommittingProducer(error))


def test_each_partition_commits_its_own_offset() -> None:
    held = {p: AssignedPartition(FakeTask(), committing(), 5 + p, p) for p in (0, 1)}
    held[2] = AssignedPartition(FakeTask(), committing(), 4, 9)  # restored: reads its state again
    assert commit_side_by_side("clicks", held, held, lambda: "group", same) == {}
    offsets = [
        (o.partition, o.offset, o.metadata)
        for h in held.values()
        for o in h.producer.client.offsets
    ]
    assert offsets == [(0, 5, "up to 5"), (1, 6, "up to 6")]
    assert [(h.committed_offset, h.task.commits) for h in held.values()] == [(5, 1), (6, 1), (9, 0)]


def test_a_failed_commit_keeps_no_memory_of_the_partition() -> None:
    held = {p: AssignedPartition(FakeTask(), committing(FINAL), 5, 0) for p in (0, 1)}
    tasks = [weakref.ref(one.task) for one in held.values()]
    failed = commit_side_by_side("clicks", held, list(held), lambda: "group", same)
    assert failed.keys() == {0, 1}
    held.clear()
    assert [task() for task in tasks] == [None, None]


def test_clicks_that_wait_are_reported_but_are_no_backlog() -> None:
    class Consumer:
        def get_watermark_offsets(self, where: TopicPartition, *, cached: bool) -> tuple[int, int]:
            return 0, 100

    metrics = Metrics(CollectorRegistry())
    loop = ExactlyOnceLoop(FakeKafka(), LoopConfig("clicks", "group"), dict, metrics, list)
    loop._consumer = Consumer()
    loop._running = {
        p: AssignedPartition(FakeTask(), committing(), at, at) for p, at in ((0, 40), (1, 90))
    }
    loop._waiting = {1}
    assert loop._left() == 60
    lag = [(s.labels["partition"], s.value) for s in metrics[m.LAG].collect()[0].samples]
    assert lag == [("0", 60), ("1", 10)]


def test_tasks_can_be_read_while_partitions_come_and_go() -> None:
    """Requests are answered in other threads than the loop's."""
    loop = ExactlyOnceLoop(
        FakeKafka(), LoopConfig("clicks", "group"), dict, Metrics(CollectorRegistry()), list
    )

    class Leaving:
        @property
        def task(self) -> FakeTask:
            loop._running.pop(1, None)
            return FakeTask()

    loop._running = {0: Leaving(), 1: AssignedPartition(FakeTask(), committing(), 5, 5)}
    assert loop.tasks.keys() == {0, 1}
    assert loop.partitions == [0]


class RefusedConsumer:
    """Is not let into its group, as a member has its name."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.closed = 0

    def subscribe(self, topics: list[str], **_: object) -> None:
        pass

    def consume(self, count: int, timeout: float) -> list[FakeRecord]:
        self.times -= 1
        in_use = KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()
        error = KafkaError(KafkaError._FATAL, f"Fatal error: {in_use}")
        return [FakeRecord(error=error)] if self.times >= 0 else []

    def consumer_group_metadata(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[ExactlyOnceLoop, Any]]:
    monkeypatch.setattr(exactly_once, "REJOIN_SECONDS", 0.01)

    def make(times: int) -> tuple[ExactlyOnceLoop, RefusedConsumer]:
        consumer = RefusedConsumer(times)
        clients = SimpleNamespace(
            group_consumer=lambda _: consumer,
            transaction_timeout=10_000,
            admin=FakeKafka().admin,
        )
        config = LoopConfig("clicks", "group")
        return ExactlyOnceLoop(clients, config, dict, Metrics(CollectorRegistry()), list), consumer

    return make


def test_a_worker_asks_again_while_a_dead_member_has_its_name(refused) -> None:
    loop, consumer = refused(3)
    loop.run(lambda: consumer.times < -1, lambda: None)
    assert consumer.closed == 4


def test_a_worker_whose_name_stays_in_use_ends(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "RELEASE_SECONDS", 0.02)
    loop, consumer = refused(10**9)
    with pytest.raises(NameInUseError, match="give each its own"):
        loop.run(lambda: False, lambda: None)
    assert consumer.closed > 1


class ShyReader(FakeReader):
    """Knows no partition at first, as a broker that has just begun."""

    shy = 3

    def get_watermark_offsets(self, where: TopicPartition, timeout: float) -> tuple[int, int]:
        self.shy -= 1
        if self.shy >= 0:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        return 2, 7


def test_a_broker_that_has_just_begun_is_asked_again_for_a_partition() -> None:
    kafka = FakeKafka()
    reader = ShyReader(kafka)
    kafka.reader = lambda **_: reader
    assert offset_range(kafka, "control", 0) == (2, 7)


# --- the topic stays the one that was read


def another() -> Callable[[], None]:
    def require_same() -> None:
        raise TopicError("made again")

    return require_same


def unanswered() -> Callable[[], None]:
    def require_same() -> None:
        raise KafkaException(FINAL)

    return require_same


def test_nothing_of_a_topic_that_was_made_again_is_committed() -> None:
    held = {p: AssignedPartition(FakeTask(), committing(), 5, 0) for p in (0, 1)}
    with pytest.raises(TopicError, match="made again"):
        commit_side_by_side("clicks", held, held, lambda: "group", another)
    assert [(one.producer.client.offsets, one.task.commits) for one in held.values()] == [
        ([], 0)
    ] * 2


def test_nothing_is_committed_while_nobody_says_which_topic_it_is() -> None:
    held = {0: AssignedPartition(FakeTask(), committing(), 5, 0)}
    failed = commit_side_by_side("clicks", held, held, lambda: "group", unanswered)
    assert (failed.keys(), held[0].producer.client.offsets) == ({0}, [])


def test_nobody_is_asked_where_there_is_nothing_to_commit() -> None:
    class Idle(FakeTask):
        def is_dirty(self) -> bool:
            return False

    held = {0: AssignedPartition(Idle(), committing(), 5, 5)}
    assert commit_side_by_side("clicks", held, held, lambda: "group", another) == {}


def test_a_topic_is_known_by_its_id() -> None:
    kafka = FakeKafka()
    identity = TopicIdentity(kafka.admin(), "clicks")
    asked_before, kafka.topic_ids["clicks"] = identity.ask(), "another"
    asked_before()
    with pytest.raises(TopicError, match=r"its id was clicks and is now another.*reset --yes"):
        identity.ask()()
