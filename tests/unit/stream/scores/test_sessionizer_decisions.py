from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import NotYetError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.scores.sessionizer_decisions import PATIENCE_SECONDS, SessionizerDecisions
from ader_stream.stream.sessions.outputs import ClockRefusal, IdleAdvance, WatermarkReset
from ader_stream.stream.topics.topics import Topics
from tests.fakes import Clock, FakeKafka, FakeRecord

TOPICS = Topics("ader")
PAUSE = 30_000
PARTITION = 2
MAX_AHEAD = 60_000
NOW = 100 * PAUSE


class Sessionizer:
    """Up to where it has committed; and what it has logged."""

    committed = -1
    is_away = False

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka

    def place(self, partition: int) -> int:
        assert partition == PARTITION
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return self.committed

    def log(self, type_name: str, **fields: int) -> int:
        value, headers = encode(type_name, {"partition": PARTITION, **fields})
        return self._kafka.append(TOPICS.sessions, value, "2", headers, PARTITION)

    def advance(self, next_offset: int, watermark: int) -> int:
        return self.log("IdleAdvance", next_offset=next_offset, watermark=watermark)


@pytest.fixture
def sessionizer(kafka: FakeKafka) -> Sessionizer:
    return Sessionizer(kafka)


@pytest.fixture
def advances(kafka: FakeKafka, sessionizer: Sessionizer, clock: Clock) -> SessionizerDecisions:
    advances = SessionizerDecisions(
        kafka, TOPICS, PAUSE, MAX_AHEAD, sessionizer.place, clock, lambda: NOW / 1000
    )
    advances.follow(PARTITION, 0)
    return advances


def click(offset: int, timestamp: int = 0) -> FakeRecord:
    return FakeRecord(b"{}", partition=PARTITION, offset=offset, timestamp=timestamp)


def is_readable(advances: SessionizerDecisions, *records: FakeRecord) -> bool:
    try:
        advances.check_readable(records)
    except NotYetError as error:
        assert error.offset in [record.offset() for record in records]
        return False
    return True


def test_advances_are_heard_once_with_their_place(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.log("BlockEnd", block=0, clicks=1, sessions=1, late=0)
    at = sessionizer.advance(5, 700)
    assert advances.take(PARTITION) == ([(IdleAdvance(5, 700), at)], at + 1)
    assert advances.take(PARTITION) == ([], at + 1)


def test_reading_continues_where_it_was_asked_to(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.advance(5, 700)
    at = sessionizer.advance(6, 800)
    advances.follow(PARTITION, at)
    assert advances.take(PARTITION) == ([(IdleAdvance(6, 800), at)], at + 1)


def test_where_the_topic_was_trimmed_reading_begins_at_its_first_record(
    kafka: FakeKafka, advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.advance(5, 700)
    at = sessionizer.advance(6, 800)
    kafka.trimmed[TOPICS.sessions, PARTITION] = at
    advances.follow(PARTITION, 0)
    assert advances.take(PARTITION) == ([(IdleAdvance(6, 800), at)], at + 1)


def test_a_partition_that_is_given_up_is_heard_of_no_more(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    advances.keep([])
    sessionizer.advance(5, 700)
    advances.follow(PARTITION, 1)
    assert advances.take(PARTITION) == ([], 1)


def test_the_first_click_waits_until_the_sessionizer_has_passed_it(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.committed = 7
    assert not is_readable(advances, click(7))
    sessionizer.advance(7, 700)
    sessionizer.committed = 8
    assert is_readable(advances, click(7))
    assert [decision for decision, _ in advances.take(PARTITION)[0]] == [IdleAdvance(7, 700)]


def test_clicks_that_come_one_upon_the_other_wait_for_nobody(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.committed = 1
    assert is_readable(advances, click(0))
    assert is_readable(advances, click(1, PAUSE - 1), click(2, 2 * PAUSE - 2))


@pytest.mark.parametrize(("timestamp", "seconds"), [(PAUSE, 0), (0, PAUSE / 1000)])
def test_a_click_after_a_pause_of_the_log_or_of_ours_waits(
    advances: SessionizerDecisions,
    sessionizer: Sessionizer,
    clock: Clock,
    timestamp: int,
    seconds: float,
) -> None:
    sessionizer.committed = 1
    assert is_readable(advances, click(0))
    clock.seconds += seconds
    assert not is_readable(advances, click(1, timestamp), click(2, timestamp))
    assert not is_readable(advances, click(1, timestamp))
    sessionizer.committed = 2
    assert is_readable(advances, click(1, timestamp), click(2, timestamp))


def test_only_clicks_before_a_pause_are_readable(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.committed = 1
    with pytest.raises(NotYetError) as caught:
        advances.check_readable([click(0), click(1, 5), click(2, 5 + PAUSE)])
    assert caught.value.offset == 2


def test_what_the_sessionizer_has_passed_already_waits_for_nobody(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.committed = 50
    assert is_readable(advances, *(click(at, at * PAUSE) for at in range(50)))


@pytest.mark.parametrize(("ahead", "waits"), [(MAX_AHEAD // 2, False), (MAX_AHEAD // 2 + 1, True)])
def test_a_click_whose_record_is_ahead_of_the_clock_waits(
    advances: SessionizerDecisions, sessionizer: Sessionizer, ahead: int, waits: bool
) -> None:
    sessionizer.committed = 1
    assert is_readable(advances, click(0, NOW + ahead - 1))
    assert is_readable(advances, click(1, NOW + ahead)) is not waits
    sessionizer.committed = 2
    assert is_readable(advances, click(1, NOW + ahead))


def test_where_no_partition_is_called_idle_a_pause_waits_for_nobody(
    kafka: FakeKafka, sessionizer: Sessionizer, clock: Clock
) -> None:
    heartbeats_only = SessionizerDecisions(
        kafka, TOPICS, None, MAX_AHEAD, sessionizer.place, clock, lambda: NOW / 1000
    )
    heartbeats_only.follow(PARTITION, 0)
    assert is_readable(heartbeats_only, click(0), click(1, PAUSE))
    assert not is_readable(heartbeats_only, click(2, NOW + MAX_AHEAD))


def test_every_kind_of_decision_is_heard(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.log("ClockRefusal", offset=5)
    sessionizer.log("WatermarkReset", next_offset=6, watermark=7, open_block=0)
    decisions = [decision for decision, _ in advances.take(PARTITION)[0]]
    assert decisions == [ClockRefusal(5), WatermarkReset(6, 7, 0)]


def test_a_broker_that_does_not_answer_is_waited_for(
    advances: SessionizerDecisions, sessionizer: Sessionizer
) -> None:
    sessionizer.is_away = True
    assert not is_readable(advances, click(0))


def test_without_a_sessionizer_clicks_wait_once_and_not_for_ever(
    advances: SessionizerDecisions, clock: Clock
) -> None:
    assert not is_readable(advances, click(0))
    clock.seconds += PATIENCE_SECONDS
    assert is_readable(advances, click(0))
    clock.seconds += PAUSE / 1000
    assert is_readable(advances, click(1, PAUSE))
