from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from ader_stream.errors import FencedError, TopicError
from ader_stream.stream.kafka.producing import produce, retried, side_by_side
from tests.fakes import FakeKafka, FakeProducer

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


def test_what_fails_on_one_partition_stops_no_other() -> None:
    done = []

    def request(partition: int) -> None:
        if partition == 1:
            raise KafkaException(FINAL)
        done.append(partition)

    failed = side_by_side(request, [0, 1, 2])
    assert [*failed] == [1]
    assert sorted(done) == [0, 2]


def test_a_request_that_does_not_return_is_given_up() -> None:
    release = threading.Event()
    with pytest.raises(FencedError, match=r"partition 1 has not returned in 0.05 s"):
        side_by_side(lambda partition: partition and release.wait() and None, [0, 1], 0.05)
    release.set()


def test_a_request_of_one_partition_is_repeated_while_that_may_help() -> None:
    errors = {0: [], 1: [RETRIABLE, RETRIABLE], 2: [RETRIABLE, FINAL]}
    asked = []

    def request(partition: int) -> None:
        asked.append(partition)
        if errors[partition]:
            raise KafkaException(errors[partition].pop(0))

    assert [*side_by_side(request, [0, 1, 2])] == [2]
    assert sorted(asked) == [0, 1, 1, 1, 2, 2]
