"""A follower passes on each record once, and says where a log ends."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, TopicPartition

from ader_stream.errors import AuthorizationError
from ader_stream.stream.kafka.follower import LogFollower
from tests.fakes import FakeKafka, FakeReader, FakeRecord


class Followed:
    """Two topics, and what their handlers were given."""

    def __init__(self) -> None:
        self.kafka = FakeKafka({"a": 2, "b": 1})
        self.taken: list[tuple[str, int, bytes | None]] = []
        self.ends: list[tuple[str, int, int]] = []
        handlers = {"a": self._take, "b": self._take}
        self.follower = LogFollower(self.kafka, handlers, self._note_end)

    def _take(self, record: FakeRecord) -> None:
        self.taken.append((record.topic(), record.partition(), record.value()))

    def _note_end(self, end: TopicPartition) -> None:
        self.ends.append((end.topic, end.partition, end.offset))


def test_records_go_to_the_handlers_of_their_topics_and_ends_are_noted_once() -> None:
    followed = Followed()
    followed.kafka.append("a", b"1", partition=1)
    followed.kafka.append("b", b"2")
    followed.follower.follow_from_first("a", range(2))
    followed.follower.follow_from_first("b")
    assert followed.follower.poll()
    assert not followed.follower.poll()
    assert not followed.follower.poll()
    assert followed.taken == [("a", 1, b"1"), ("b", 0, b"2")]
    assert sorted(followed.ends) == [("a", 0, 0), ("a", 1, 1), ("b", 0, 1)]


def test_it_begins_at_the_first_record_that_is_still_there() -> None:
    followed = Followed()
    followed.kafka.append("b", b"gone")
    followed.kafka.append("b", b"kept")
    followed.kafka.trimmed["b", 0] = 1
    followed.follower.follow_from_first("b")
    followed.follower.poll()
    assert followed.taken == [("b", 0, b"kept")]


def test_what_was_fetched_before_a_partition_was_left_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed = Followed()
    followed.follower.follow_from_first("a", range(2))
    followed.follower.leave([TopicPartition("a", 1)])
    late = [FakeRecord(b"late", topic="a", partition=1), FakeRecord(b"ours", topic="a")]
    monkeypatch.setattr(FakeReader, "consume", lambda *_: late)
    assert followed.follower.poll()
    assert followed.taken == [("a", 0, b"ours")]


def test_records_that_arrive_with_an_error_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed()
    followed.follower.follow_from_first("a", range(1))
    refused = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    arrived = [FakeRecord(topic="b", error=refused), FakeRecord(b"ours", topic="a")]
    monkeypatch.setattr(FakeReader, "consume", lambda *_: arrived)
    with pytest.raises(AuthorizationError):
        followed.follower.poll()
    assert followed.taken == [("a", 0, b"ours")]


def test_it_knows_the_partitions_that_a_topic_was_given_since() -> None:
    followed = Followed()
    followed.kafka.partitions["a"] = 3
    assert followed.follower.partitions("a") == [0, 1, 2]
