"""A client that is given up ends nobody, wherever it says that it is of no more use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from itertools import count, product
from threading import Event

import pytest
from confluent_kafka import KafkaException
from prometheus_client import CollectorRegistry

from ader_stream.artifact import KINDS
from ader_stream.errors import AderError, FencedError, TopicError
from ader_stream.metrics import Metrics
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.dead_letters.letters import LetterFilter
from ader_stream.stream.dead_letters.sending_back import DeadLetterReplay
from ader_stream.stream.exactly_once import loop as exactly_once
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.groups.leadership import Leadership
from ader_stream.stream.kafka import producing
from ader_stream.stream.kafka.follower import LogFollower
from ader_stream.stream.kafka.producing import Transaction, send_and_wait
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry import model_log, registry
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.registry import Registry, RegistryFollower, read_registry
from ader_stream.stream.model_registry.serving_log import ServingLog
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.stream.topics.topics import Topics
from tests.dying_clients import FENCED, ON_THE_WAY_OUT, TRANSACTIONAL, Death, DyingKafka
from tests.fakes import complete_manifest, example_manifest
from tests.unit.stream.dead_letters.test_dead_letters import GOOD, JSON, refuse

TOPICS = Topics("ader")
PARTS = dict.fromkeys(KINDS, b"part")


def dying_in(*calls: str) -> pytest.MarkDecorator:
    """Run a test for each call that comes to the error, and each that says so once more."""
    pairs = [*product(calls, ON_THE_WAY_OUT)]
    return pytest.mark.parametrize(("dies_in", "says_again_in"), pairs)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exactly_once, "REJOIN_SECONDS", 0.0)
    monkeypatch.setattr(producing, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(model_log, "CHUNKS_A_TRANSACTION", 2)


def kafka_of(dies_in: str, says_again_in: str = "") -> DyingKafka:
    """A cluster whose first producer dies."""
    partitions = {name: partitions for name, partitions, _ in TOPICS.specifications(1)}
    death = Death(dies_in, says_again_in)
    return DyingKafka(partitions, producer_deaths=deque([death]), room=2)


# --- the model log


def interrupt() -> int:
    raise InterruptedError


def interrupted(publisher: ModelPublisher) -> None:
    with pytest.raises(InterruptedError):
        publisher.publish(example_manifest(), PARTS, interrupt)


PUBLISHING: dict[str, Callable[[ModelPublisher], object]] = {
    "publish": lambda publisher: publisher.publish(example_manifest(), PARTS),
    "prune": lambda publisher: publisher.prune([complete_manifest()]),
    "delete chunks": lambda publisher: publisher.delete_chunks([b"1", b"2", b"3"]),
    "interrupted": interrupted,
}


@dying_in("init", "begin", "commit", "abort", "produce", "poll", "flush", "purge")
@pytest.mark.parametrize("place", PUBLISHING)
def test_a_publisher_that_dies_stands_back_and_leaves_no_version(
    place: str, dies_in: str, says_again_in: str
) -> None:
    kafka = kafka_of(dies_in, says_again_in)
    try:
        publisher = ModelPublisher(kafka, TOPICS, 100)
        PUBLISHING[place](publisher)
        publisher.close()
    except FencedError:
        assert not read_registry(kafka, TOPICS, Trust()).manifests
    else:
        assert dies_in in ("flush", "purge"), "that comes when it is closed"
    assert kafka.producers[0].death.has_come
    ModelPublisher(kafka, TOPICS, 100).publish(example_manifest(), PARTS)
    assert [*read_registry(kafka, TOPICS, Trust()).manifests] == [1]


# --- partitions


class Copying:
    """Writes what it reads."""

    def __init__(self) -> None:
        self._read: list[Record] = []

    def place(self, committed: Committed | None, extent: Extent) -> Committed | None:
        return committed

    def restore(self, place: Committed, first: int) -> int:
        return place.offset

    def begin(self) -> None:
        pass

    def process(self, records: list[Record]) -> None:
        self._read += records

    def tick(self, *, is_at_end: bool) -> None:
        pass

    def is_dirty(self) -> bool:
        return False

    def write(self, transaction: Transaction, next_offset: int) -> str:
        for record in self._read:
            transaction.produce("copies", None, record.value())
        return ""

    def committed(self) -> None:
        self._read.clear()


def copying_tasks(partitions: Collection[int], _: Callable[[], None]) -> dict[int, Copying]:
    return {partition: Copying() for partition in partitions}


def copy_all(kafka: DyingKafka, should_stop: Callable[[ExactlyOnceLoop], bool]) -> list[bytes]:
    """Copy three records with a worker; return what was copied."""
    for number in range(3):
        kafka.append("clicks", bytes([number]))
    config = LoopConfig("clicks", "group", commit_interval=0)
    loop = ExactlyOnceLoop(
        kafka, config, copying_tasks, Metrics(CollectorRegistry()), lambda _: None
    )
    loop.run(partial(should_stop, loop), lambda: None)
    return [record.value() for record in kafka.records("copies")]


def when_copied(kafka: DyingKafka, _: ExactlyOnceLoop) -> bool:
    assert kafka.members < 5, "it repeats for ever"
    return kafka.offsets.get(0) == 3


@dying_in(*TRANSACTIONAL, "produce", "poll", "flush", "purge")
@pytest.mark.parametrize("moves", [False, True], ids=["stays", "is revoked"])
def test_a_worker_continues_without_a_producer_that_has_died(
    moves: bool, dies_in: str, says_again_in: str
) -> None:
    kafka = kafka_of(dies_in, says_again_in)
    kafka.moves = moves
    assert copy_all(kafka, partial(when_copied, kafka)) == [b"\0", b"\1", b"\2"]
    assert kafka.producers[0].death.has_come


@dying_in(*TRANSACTIONAL, "produce", "poll", "flush", "purge")
def test_a_worker_that_leaves_does_so_whatever_its_producer_says(
    dies_in: str, says_again_in: str
) -> None:
    kafka, rounds = kafka_of(dies_in, says_again_in), list[int]()

    def has_read(loop: ExactlyOnceLoop) -> bool:
        rounds.extend(loop.partitions)
        return len(rounds) > 2

    copied = copy_all(kafka, has_read)
    assert copied in ([], [b"\0", b"\1", b"\2"])
    assert kafka.offsets.get(0, 0) == len(copied)


@pytest.mark.parametrize(
    "dies_in", ["consume", "assign", "assignment", "group", "unassign", "close"]
)
@pytest.mark.parametrize("says_again_in", ["", "close"])
@pytest.mark.parametrize("moves", [False, True], ids=["stays", "is revoked"])
def test_a_worker_continues_without_a_consumer_that_has_died(
    moves: bool, dies_in: str, says_again_in: str
) -> None:
    kafka = kafka_of("")
    kafka.moves, kafka.member_deaths = moves, deque([Death(dies_in, says_again_in)])
    assert copy_all(kafka, partial(when_copied, kafka)) == [b"\0", b"\1", b"\2"]


@pytest.mark.parametrize("says_again_in", ["", "close"])
def test_a_worker_continues_without_a_client_that_has_died_asking_for_offsets(
    says_again_in: str,
) -> None:
    kafka = kafka_of("")
    kafka.member_deaths = deque([Death(""), Death("committed", says_again_in)])
    assert copy_all(kafka, partial(when_copied, kafka)) == [b"\0", b"\1", b"\2"]
    assert kafka.members == 2


# --- what stands beside them


@dying_in("produce", "poll")
def test_a_best_effort_producer_that_died_is_replaced(dies_in: str, says_again_in: str) -> None:
    kafka = kafka_of(dies_in, says_again_in)
    serving = ServingLog(kafka, TOPICS, "worker")
    for _ in range(3):
        serving.show(1, None, None, {})
    serving.show(2, None, None, {})
    serving.withdraw()
    said = [record.value() is None for record in kafka.records(TOPICS.serving)]
    assert said[-2:] == [False, True]
    assert len(kafka.producers) == 2


@pytest.mark.parametrize("says_again_in", ON_THE_WAY_OUT)
def test_a_worker_that_cannot_say_that_it_leaves_does_so_all_the_same(says_again_in: str) -> None:
    kafka = kafka_of("flush", says_again_in)
    ServingLog(kafka, TOPICS, "worker").withdraw()
    assert kafka.producers[0].death.has_come


def test_hints_continue_with_other_clients() -> None:
    kafka = kafka_of("produce")
    kafka.reader_deaths = deque([Death("consume", "close")])
    hints = WatermarkHints(kafka, TOPICS)
    for partition in range(2):
        hints.publish(partition, 5 + partition)
    hints._producer.flush(0)
    for _ in range(2):
        hints.follow()
    assert hints.highest(limit=10) == 6
    hints.close()


def test_a_follower_whose_client_dies_continues_and_nothing_comes_twice() -> None:
    kafka, taken = DyingKafka({"topic": 1}), list[bytes | None]()
    kafka.reader_deaths = deque([Death(""), Death("close")])
    follower = LogFollower(kafka, {"topic": lambda record: taken.append(record.value())})
    follower.follow([exactly_once.TopicPartition("topic", 0, 0)])
    kafka.append("topic", b"1")
    assert follower.poll()
    follower._reader._death.dies_in = "consume"
    kafka.append("topic", b"2")
    assert not follower.poll()
    assert follower.poll()
    assert taken == [b"1", b"2"]
    follower.close()


def test_a_trainer_that_leaves_its_group_does_so_whatever_its_consumer_says() -> None:
    kafka = DyingKafka()
    kafka.member_deaths = deque([Death("close")])
    leadership = Leadership(kafka, TOPICS.models, "group")
    leadership.poll()
    leadership.close()


def test_models_that_cannot_be_read_now_are_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RETRY_SECONDS", 0.0)
    kafka, calls, served = DyingKafka(), count(), Event()

    def change() -> None:
        if next(calls) == 1:  # the first one is the start's
            raise KafkaException(FENCED)
        if next(calls) > 2:
            served.set()

    follower = RegistryFollower(kafka, TOPICS, Registry(Trust()), change, repeat=0.0)
    follower.start()
    assert served.wait(20)
    follower.check()
    follower.stop()


# --- commands


@dying_in("produce", "flush")
def test_a_command_that_was_not_taken_says_so(dies_in: str, says_again_in: str) -> None:
    with pytest.raises(TopicError, match=r"ader\.control: pin was not taken: .*; ask again"):
        ask(kafka_of(dies_in, says_again_in), TOPICS, Command("pin", 2))


def test_records_that_find_no_room_are_waited_for() -> None:
    kafka = kafka_of("poll")
    records = [(0, (str(number), None, None)) for number in range(5)]
    with pytest.raises(TopicError, match="tombstones was not taken: fenced by another"):
        send_and_wait(kafka.producer(), "topic", records, "tombstones")
    assert send_and_wait(kafka.producer(), "topic", records, "tombstones") == [0, 1, 2, 3, 4]


@dying_in("init", "begin", "commit", "abort", "produce", "poll")
def test_letters_that_were_not_sent_back_are_sent_by_the_next_replay(
    dies_in: str, says_again_in: str
) -> None:
    kafka = kafka_of(dies_in, says_again_in)
    for _ in range(3):
        refuse(kafka, GOOD)

    def replay() -> int:
        return DeadLetterReplay(kafka, TOPICS, JSON).send(LetterFilter(), lambda _: None).sent

    try:
        first = replay()
    except AderError:
        first = 0
    assert first + replay() == 3
    assert len(kafka.records(TOPICS.clicks)) == 3
