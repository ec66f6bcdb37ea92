from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from confluent_kafka import Producer

from ader_stream.errors import TopicError
from ader_stream.stream.kafka.producing import produce
from tests.fakes import FakeKafka, FakeProducer


@dataclass
class SlowProducer(FakeProducer):
    """Has room again after it was polled."""

    polls: list[float] = field(default_factory=list)

    def poll(self, timeout: float) -> None:
        self.polls.append(timeout)
        super().poll(timeout)


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
