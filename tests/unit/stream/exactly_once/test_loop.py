from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from prometheus_client import CollectorRegistry

from ader_stream import metrics as m
from ader_stream.errors import FencedError, NameInUseError, TopicError
from ader_stream.metrics import Metrics
from ader_stream.stream.exactly_once import loop as exactly_once
from ader_stream.stream.exactly_once.commit import abort_failed, commit_side_by_side
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.exactly_once.partition_task import Held
from ader_stream.stream.groups import membership
from ader_stream.stream.kafka import producing
from ader_stream.stream.kafka.changelog import offset_range
from ader_stream.stream.kafka.producing import (
    Transaction,
    is_lost,
    produce,
    recover,
    retried,
    side_by_side,
)
from ader_stream.stream.topics.identity import TopicIdentity
from tests.fakes import FakeKafka, FakeProducer, FakeReader, FakeRecord

RETRIABLE = KafkaError(KafkaError._TIMED_OUT, retriable=True)
FINAL = KafkaError(KafkaError._TIMED_OUT, txn_requires_abort=True)


@dataclass
class Request:
    """A request that fails with these errors before it goes well."""

    errors: list[KafkaError]
    asked: int = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.errors:
            raise KafkaException(self.errors.pop(0))


@dataclass
class SlowProducer(FakeProducer):
    """Has room again after it was polled."""

    polls: list[float] = field(default_factory=list)

    def poll(self, timeout: float) -> None:
        self.polls.append(timeout)
        super().poll(timeout)


def test_a_request_is_repeated_while_that_may_help() -> None:
    request = Request([RETRIABLE, RETRIABLE])
    retried(request)
    assert request.asked == 3


def test_a_request_that_needs_an_abort_is_not_repeated() -> None:
    request = Request([FINAL])
    with pytest.raises(KafkaException):
        retried(request)
    assert request.asked == 1


def test_a_request_is_not_repeated_for_ever() -> None:
    request = Request([RETRIABLE] * 3)
    with pytest.raises(KafkaException) as failed:
        retried(request, 0)
    assert request.asked == 1
    assert is_lost(failed.value.args[0])


def test_a_full_queue_is_waited_for() -> None:
    producer = SlowProducer(FakeKafka(), room=2)
    for number in range(5):
        produce(producer, "topic", "key", bytes([number]))
    producer.flush(0)
    assert [record.value() for record in producer.kafka.records("topic")] == [
        bytes([number]) for number in range(5)
    ]
    assert len(producer.polls) == 3


def test_a_record_that_is_too_large_ends_the_process_instead_of_being_tried_for_ever() -> None:
    producer = Producer({"bootstrap.servers": "localhost:1", "message.max.bytes": 1000})
    with pytest.raises(TopicError, match=r"sessions/3: a record of 2000 bytes, key 'bot'.*raise"):
        produce(producer, "sessions", "bot", b"x" * 2000, None, 3)


def test_requests_of_several_partitions_are_done_side_by_side() -> None:
    everyone_is_here = threading.Barrier(3, timeout=10)
    assert side_by_side(lambda _: everyone_is_here.wait() and None, [0, 1, 2], 10) == {}


@pytest.mark.parametrize(
    ("error", "seconds", "loses_producer"),
    [(FINAL, 10, False), (RETRIABLE, 0, True)],
    ids=["final", "time is over"],
)
def test_what_fails_on_one_partition_stops_no_other(
    error: KafkaError, seconds: float, loses_producer: bool
) -> None:
    done = []

    def request(partition: int) -> None:
        if partition == 1:
            raise KafkaException(error)
        done.append(partition)

    failed = side_by_side(request, [0, 1, 2], seconds)
    assert {p: is_lost(why.args[0]) for p, why in failed.items()} == {1: loses_producer}
    assert sorted(done) == [0, 2]


def test_a_request_that_does_not_return_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(producing, "HANG_SECONDS", 0.03)
    with pytest.raises(FencedError, match=r"partition 1 has not returned in 0.05 s"):
        side_by_side(lambda partition: partition and release.wait() and None, [0, 1], 0.02)
    release.set()


@pytest.mark.parametrize(
    "error",
    [KafkaError(KafkaError._FENCED, "by another", fatal=True), RETRIABLE],
    ids=["fenced", "cut off"],
)
def test_nothing_of_a_lost_producer_is_on_its_way_when_it_goes(error: KafkaError) -> None:
    producer = FakeProducer(FakeKafka())
    with pytest.raises(FencedError, match=re.escape(f"partition 1 is lost: {error.str()}")):
        abort_failed("clicks", 1, Held(FakeTask(), producer, 0, 0), KafkaException(error))
    assert producer.is_settled


def test_a_producer_goes_on_if_it_still_can_abort() -> None:
    producer = FakeProducer(FakeKafka())
    producer.begin_transaction()
    produce(producer, "topic", "key", b"value")
    assert recover(producer, FINAL)
    assert not producer.is_settled
    producer.begin_transaction()  # nothing is left of the one before
    assert not recover(producer, RETRIABLE)
    assert producer.is_settled


def test_a_producer_that_cannot_abort_is_lost() -> None:
    producer = FakeProducer(FakeKafka(), abort_failure=FINAL)
    with pytest.raises(FencedError, match="the producer of partition 1 is lost"):
        abort_failed("clicks", 1, Held(FakeTask(), producer, 0, 0), KafkaException(FINAL))
    assert producer.is_settled


def test_a_request_of_one_partition_is_repeated_while_that_may_help() -> None:
    errors = {0: [], 1: [RETRIABLE, RETRIABLE], 2: [RETRIABLE, FINAL]}
    asked = []

    def request(partition: int) -> None:
        asked.append(partition)
        if errors[partition]:
            raise KafkaException(errors[partition].pop(0))

    assert [*side_by_side(request, [0, 1, 2], 10)] == [2]
    assert sorted(asked) == [0, 1, 1, 1, 2, 2]


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


def test_each_partition_commits_its_own_offset() -> None:
    held = {p: Held(FakeTask(), CommittingProducer(), 5 + p, p) for p in (0, 1)}
    held[2] = Held(FakeTask(), CommittingProducer(), 4, 9)  # restored: reads its state again
    assert commit_side_by_side("clicks", held, held, lambda: "group", same) == {}
    offsets = [
        (o.partition, o.offset, o.metadata) for h in held.values() for o in h.producer.offsets
    ]
    assert offsets == [(0, 5, "up to 5"), (1, 6, "up to 6")]
    assert [(h.committed_offset, h.task.commits) for h in held.values()] == [(5, 1), (6, 1), (9, 0)]


def test_a_failed_commit_keeps_no_memory_of_the_partition() -> None:
    held = {p: Held(FakeTask(), CommittingProducer(FINAL), 5, 0) for p in (0, 1)}
    tasks = [weakref.ref(one.task) for one in held.values()]
    failed = commit_side_by_side("clicks", held, list(held), lambda: "group", same)
    assert failed.keys() == {0, 1}
    held.clear()
    assert [task() for task in tasks] == [None, None]


def test_clicks_that_wait_are_told_but_are_no_backlog() -> None:
    class Consumer:
        def get_watermark_offsets(self, where: TopicPartition, *, cached: bool) -> tuple[int, int]:
            return 0, 100

    metrics = Metrics(CollectorRegistry())
    loop = ExactlyOnceLoop(FakeKafka(), LoopConfig("clicks", "group"), dict, metrics, list)
    loop._consumer = Consumer()
    loop._held = {p: Held(FakeTask(), CommittingProducer(), at, at) for p, at in ((0, 40), (1, 90))}
    loop._waiting = {1}
    assert loop._left() == 60
    lag = [(s.labels["partition"], s.value) for s in metrics[m.LAG].collect()[0].samples]
    assert lag == [("0", 60), ("1", 10)]


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
    held = {p: Held(FakeTask(), CommittingProducer(), 5, 0) for p in (0, 1)}
    with pytest.raises(TopicError, match="made again"):
        commit_side_by_side("clicks", held, held, lambda: "group", another)
    assert [(one.producer.offsets, one.task.commits) for one in held.values()] == [([], 0)] * 2


def test_nothing_is_committed_while_nobody_says_which_topic_it_is() -> None:
    held = {0: Held(FakeTask(), CommittingProducer(), 5, 0)}
    failed = commit_side_by_side("clicks", held, held, lambda: "group", unanswered)
    assert (failed.keys(), held[0].producer.offsets) == ({0}, [])


def test_nobody_is_asked_where_there_is_nothing_to_commit() -> None:
    class Idle(FakeTask):
        def is_dirty(self) -> bool:
            return False

    held = {0: Held(Idle(), CommittingProducer(), 5, 5)}
    assert commit_side_by_side("clicks", held, held, lambda: "group", another) == {}


def test_a_topic_is_known_by_its_id() -> None:
    kafka = FakeKafka()
    identity = TopicIdentity(kafka.admin(), "clicks")
    asked_before, kafka.topic_ids["clicks"] = identity.ask(), "another"
    asked_before()
    with pytest.raises(TopicError, match=r"its id was clicks and is now another.*reset --yes"):
        identity.ask()()
