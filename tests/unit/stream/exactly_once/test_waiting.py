from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from structlog.testing import capture_logs

from ader_stream.errors import NotYetError
from ader_stream.stream.exactly_once.waiting import WaitingPartitions
from tests.fakes import Clock


class FakeConsumer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.reported: list[tuple[str, int, int]] = []

    def pause(self, places: list[TopicPartition]) -> None:
        self.reported += [("pause", place.partition, place.offset) for place in places]

    def resume(self, places: list[TopicPartition]) -> None:
        self.reported += [("resume", place.partition, place.offset) for place in places]

    def seek(self, place: TopicPartition) -> None:
        self.reported.append(("seek", place.partition, place.offset))


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def waiting(consumer: FakeConsumer, clock: Clock) -> WaitingPartitions:
    return WaitingPartitions(consumer, "clicks", clock)


def test_a_partition_is_paused_until_its_time_and_read_from_where_it_stood(
    waiting: WaitingPartitions, consumer: FakeConsumer, clock: Clock
) -> None:
    waiting.wait(3, NotYetError("away", retry_after=2.0))
    clock.seconds += 1.9
    assert (waiting.due(), 3 in waiting) == ([], True)
    clock.seconds += 0.2
    assert waiting.due() == [3]
    waiting.resume(3, next_offset=41)
    assert consumer.reported[1:] == [("resume", 3, 41), ("seek", 3, 41)]
    assert consumer.reported[0][:2] == ("pause", 3)
    assert (waiting.due(), 3 in waiting) == ([], False)


def test_a_partition_counts_as_waiting_until_its_record_was_read(
    waiting: WaitingPartitions, clock: Clock
) -> None:
    waiting.wait(3, NotYetError("away", retry_after=0.0))
    waiting.passed(3)  # those before it
    waiting.resume(3, 41)
    assert len(waiting) == 1
    waiting.wait(3, NotYetError("away", retry_after=0.0))
    waiting.resume(3, 41)
    waiting.passed(3)
    assert len(waiting) == 0


def test_only_a_wait_that_lasts_is_reported(waiting: WaitingPartitions, clock: Clock) -> None:
    with capture_logs() as reported:
        for _ in range(4):
            waiting.wait(3, NotYetError("not passed", retry_after=0.4))
            clock.seconds += 0.4
            waiting.resume(3, 41)
        waiting.passed(3)
        waiting.wait(3, NotYetError("not passed", retry_after=0.4))
        waiting.resume(3, 41)
        waiting.passed(3)
    assert [one["event"] for one in reported] == ["partition waits", "partition continues"]


def test_a_partition_that_is_given_up_is_not_left_paused(
    waiting: WaitingPartitions, consumer: FakeConsumer
) -> None:
    waiting.wait(3, NotYetError("away", retry_after=2.0))
    waiting.release(3)
    waiting.release(4)
    assert [verb for verb, *_ in consumer.reported] == ["pause", "resume"]
    assert len(waiting) == 0
