from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import CollectorRegistry

from ader_stream import metrics as m
from ader_stream.errors import TopicError
from ader_stream.metrics import Metrics
from ader_stream.stream.exactly_once import takeover_thread as module
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.exactly_once.partition_task import AssignedPartition
from ader_stream.stream.exactly_once.permission import Permission
from ader_stream.stream.exactly_once.takeover import KeptProducer
from ader_stream.stream.exactly_once.takeover_thread import Takeovers
from ader_stream.stream.exactly_once.waiting import WaitingPartitions
from ader_stream.stream.topics.identity import TopicIdentity
from ader_stream.stream.transactions.producer import TransactionalProducer
from tests.fakes import FakeKafka, FakeProducer, FakeRecord

WAIT = 10.0


class State:
    """What is restored; may be looked at from outside."""

    def begin(self) -> None:
        pass


@dataclass
class FakeTaking:
    """Fences and restores when it may; stands in for `Taking`."""

    may_fence: threading.Event = field(default_factory=threading.Event)
    may_restore: threading.Event = field(default_factory=threading.Event)
    fenced: list[list[int]] = field(default_factory=list)
    is_fencing: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None

    def producers(
        self, partitions: Collection[int], kept: Mapping[int, KeptProducer]
    ) -> dict[int, object]:
        if kept:
            return {partition: producer for partition, (producer, _) in kept.items()}
        self.is_fencing.set()
        assert self.may_fence.wait(WAIT)
        self.fenced.append([*partitions])
        return {partition: f"new {partition}" for partition in partitions}

    def restore(
        self, producers: Mapping[int, str], stay: Callable[[], None]
    ) -> dict[int, AssignedPartition]:
        while not self.may_restore.wait(0.01):
            stay()
        if self.failure:
            raise self.failure
        return {p: AssignedPartition(State(), producer, 5, 5) for p, producer in producers.items()}


@pytest.fixture
def taking() -> FakeTaking:
    return FakeTaking()


@pytest.fixture
def takeovers(taking: FakeTaking, monkeypatch: pytest.MonkeyPatch) -> Iterator[Takeovers]:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    takeovers = Takeovers(taking)
    yield takeovers
    taking.may_fence.set()
    takeovers.close()
    assert not takeovers._thread.is_alive()


def wait_for(takeovers: Takeovers, count: int) -> dict[int, AssignedPartition]:
    found: dict[int, AssignedPartition] = {}
    until = time.monotonic() + WAIT
    while len(found) < count:
        assert time.monotonic() < until
        found |= takeovers.done()
        time.sleep(0.001)
    return found


def test_who_takes_partitions_over_does_not_wait_for_them(
    taking: FakeTaking, takeovers: Takeovers
) -> None:
    takeovers.begin([0, 1, 2])
    assert [*takeovers.done()] == []
    assert len(takeovers) == 3
    taking.may_fence.set()
    taking.may_restore.set()
    assert wait_for(takeovers, 3).keys() == {0, 1, 2}
    assert (len(takeovers), taking.fenced) == (0, [[0, 1], [2]])


def test_a_partition_that_is_given_up_meanwhile_does_not_come(
    taking: FakeTaking, takeovers: Takeovers
) -> None:
    taking.may_fence.set()
    takeovers.begin([0, 1, 2, 3])
    takeovers.give_up([1, 2, 3])
    taking.may_restore.set()
    assert wait_for(takeovers, 1).keys() == {0}
    assert len(takeovers) == 0
    takeovers.begin([1])
    assert wait_for(takeovers, 1).keys() == {1}
    assert taking.fenced[1:] == [[1]], "nobody is fenced for those that were given up in time"


def test_on_return_of_giving_up_nobody_will_be_fenced(
    taking: FakeTaking, takeovers: Takeovers
) -> None:
    takeovers.begin([0])
    assert taking.is_fencing.wait(WAIT)
    giving_up = threading.Thread(target=takeovers.give_up, args=([0],))
    giving_up.start()
    giving_up.join(0.05)
    assert giving_up.is_alive()
    taking.may_fence.set()
    giving_up.join(WAIT)
    assert taking.fenced == [[0]]


def test_a_restored_partition_keeps_its_producer_and_its_aborts(
    taking: FakeTaking, takeovers: Takeovers
) -> None:
    taking.may_restore.set()
    takeovers.begin_again(3, KeptProducer("old", 10_000), aborts=4)
    assigned = wait_for(takeovers, 1)[3]
    assert (assigned.producer, assigned.aborts, taking.fenced) == ("old", 4, [])


@pytest.mark.parametrize(
    "failure", [TopicError("gone"), KafkaException(KafkaError(KafkaError._TIMED_OUT))]
)
def test_what_fails_comes_out_where_partitions_would(
    taking: FakeTaking, takeovers: Takeovers, failure: Exception
) -> None:
    taking.failure = failure
    taking.may_fence.set()
    taking.may_restore.set()
    takeovers.begin([0])
    with pytest.raises(type(failure)):
        wait_for(takeovers, 1)


def test_what_fails_of_partitions_that_nobody_wants_is_nobodys_failure(
    taking: FakeTaking, takeovers: Takeovers
) -> None:
    taking.may_fence.set()
    takeovers.begin([0])
    takeovers.give_up([0])  # `stay` ends it
    taking.may_restore.set()
    takeovers.begin([1])
    assert wait_for(takeovers, 1).keys() == {1}


def test_nothing_of_what_was_taken_is_kept(taking: FakeTaking, takeovers: Takeovers) -> None:
    taking.may_fence.set()
    taking.may_restore.set()
    takeovers.begin([0, 1])
    states = [weakref.ref(assigned.task) for assigned in wait_for(takeovers, 2).values()]
    assert [state() for state in states] == [None, None]


@dataclass
class FakeConsumer:
    """Knows what it is assigned, and from which offset on; refuses what Kafka's client refuses."""

    assigned: dict[int, int] = field(default_factory=dict)

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("clicks", *place) for place in self.assigned.items()]

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        for at in places:
            assert at.partition not in self.assigned
            assert at.offset >= 0, "it would ask where the log begins or ends, and continue there"
            self.assigned[at.partition] = at.offset

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        for at in places:
            del self.assigned[at.partition]

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        return 0, 9

    def consumer_group_metadata(self) -> str:
        return "group"

    def close(self) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL))


@dataclass
class FakeTask:
    """Takes anything."""

    processed: list[int] = field(default_factory=list)

    def begin(self) -> None:
        pass

    def process(self, records: list[FakeRecord]) -> None:
        self.processed += [record.offset() for record in records]

    def is_dirty(self) -> bool:
        return False

    def write(self, transaction: object, next_offset: int) -> str:
        return ""

    def committed(self) -> None:
        pass


class FailingProducer(FakeProducer):
    """Commits nothing, but can abort."""

    def send_offsets_to_transaction(self, *_: object) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, txn_requires_abort=True))


@pytest.fixture
def aborts() -> list[str]:
    """Errors of the transactions that were aborted."""
    return []


@pytest.fixture
def loop(taking: FakeTaking, aborts: list[str]) -> Iterator[ExactlyOnceLoop]:
    config = LoopConfig("clicks", "group")
    permission = Permission(FakeKafka(), "group", (), CommitHealth(on_abort=aborts.append))
    metrics = Metrics(CollectorRegistry())
    loop = ExactlyOnceLoop(FakeKafka(), config, dict, metrics, lambda _: None, permission)
    loop._consumer = FakeConsumer()
    loop._waiting = {}
    loop._takeovers = Takeovers(taking)
    yield loop
    taking.may_fence.set()
    loop._takeovers.close()


def places(*partitions: int) -> list[TopicPartition]:
    return [TopicPartition("clicks", partition) for partition in partitions]


def hold_taken(loop: ExactlyOnceLoop) -> None:
    until = time.monotonic() + WAIT
    while loop.restoring:
        assert time.monotonic() < until
        loop._hold_taken()


def test_a_partition_is_read_once_it_is_restored(taking: FakeTaking, loop: ExactlyOnceLoop) -> None:
    loop._on_assign(loop._consumer, places(1))
    assert not loop._consumer.assigned
    assert (loop.partitions, loop.restoring) == ([], 1)
    taking.may_fence.set()
    taking.may_restore.set()
    hold_taken(loop)
    assert loop._consumer.assigned == {1: 5}
    assert (loop.partitions, loop.restoring) == ([1], 0)


def test_a_partition_that_is_given_up_before_it_is_restored_is_never_read(
    taking: FakeTaking, loop: ExactlyOnceLoop
) -> None:
    loop._waiting = WaitingPartitions(loop._consumer, "clicks")
    loop._on_assign(loop._consumer, places(1, 2))
    loop._on_lost(loop._consumer, places(1))
    taking.may_fence.set()
    taking.may_restore.set()
    hold_taken(loop)
    assert loop._consumer.assigned == {2: 5}
    loop._on_lost(loop._consumer, places(2))
    assert not loop._consumer.assigned


def test_of_a_partition_that_is_given_up_no_gauge_is_left(
    taking: FakeTaking, loop: ExactlyOnceLoop
) -> None:
    loop._waiting = WaitingPartitions(loop._consumer, "clicks")
    taking.may_fence.set()
    taking.may_restore.set()
    loop._on_assign(loop._consumer, places(1, 2))
    hold_taken(loop)
    show_no_lag(loop)
    loop._on_lost(loop._consumer, places(1))
    for gauge in (m.LAG, m.LAG_SECONDS):
        [left] = loop._metrics[gauge].collect()[0].samples
        assert left.labels == {"partition": "2"}


def test_who_leaves_the_group_with_a_failed_client_leaves_no_gauge(
    taking: FakeTaking, loop: ExactlyOnceLoop
) -> None:
    loop._waiting = WaitingPartitions(loop._consumer, "clicks")
    taking.may_fence.set()
    taking.may_restore.set()
    loop._on_assign(loop._consumer, places(1, 2))
    hold_taken(loop)
    for assigned in loop._running.values():
        assigned.producer = TransactionalProducer(FakeProducer(FakeKafka()))
    show_no_lag(loop)
    loop._leave()
    for gauge in (m.LAG, m.LAG_SECONDS):
        assert loop._metrics[gauge].collect()[0].samples == []


def show_no_lag(loop: ExactlyOnceLoop) -> None:
    """Show every gauge of the loop's partitions, which are read to their end."""
    for assigned in loop._running.values():
        assigned.ended_at = 9
    loop._left()
    for gauge in (m.LAG, m.LAG_SECONDS):
        assert [sample.value for sample in loop._metrics[gauge].collect()[0].samples] == [0, 0]


def test_after_an_abort_the_other_partitions_are_read_while_one_is_restored(
    taking: FakeTaking, loop: ExactlyOnceLoop, aborts: list[str]
) -> None:
    class Waiting:
        release = staticmethod(lambda _: None)
        passed = staticmethod(lambda _: None)
        __contains__ = staticmethod(lambda _: False)

    loop._waiting = Waiting()
    loop._identity = TopicIdentity(FakeKafka().admin(), "clicks")
    lost = FakeTask()
    clients = FakeProducer(FakeKafka()), FailingProducer(FakeKafka())
    producers = [*map(TransactionalProducer, clients)]
    loop._running = {
        0: AssignedPartition(FakeTask(), producers[0], 5, 5),
        1: AssignedPartition(lost, producers[1], 7, 5),
    }
    loop._consumer.assigned = {0: 7, 1: 7}
    loop._commit_all()
    assert aborts == ["_TIMED_OUT"]
    assert loop._consumer.assigned == {0: 7}
    loop._process([FakeRecord(partition=p, offset=7) for p in (0, 1)])  # fetched before
    assert (loop._running[0].task.processed, lost.processed) == ([7], [])
    taking.may_restore.set()
    hold_taken(loop)
    assert loop._consumer.assigned == {0: 7, 1: 5}
    assert (loop._running[1].producer, loop._running[1].aborts) == (producers[1], 1)
