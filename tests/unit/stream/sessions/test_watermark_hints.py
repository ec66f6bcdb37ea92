from __future__ import annotations

from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka

TOPICS = Topics("ader")


def test_the_highest_hint_that_can_be_true_counts() -> None:
    kafka = FakeKafka()
    hints = WatermarkHints(kafka, TOPICS)
    for partition, stream_time in enumerate([5, 9, 7]):
        hints.publish(partition, stream_time)
    hints._producer.flush(1)
    hints.follow()
    assert hints.highest(limit=100) == 9
    assert hints.highest(limit=8) == 7


def test_a_stream_time_is_reported_when_it_is_news_and_once_a_second_at_most() -> None:
    kafka, now = FakeKafka(), [0.0]
    hints = WatermarkHints(kafka, TOPICS, lambda: now[0])
    for at, stream_time in [(0.0, 5), (0.5, 6), (1.0, 7), (9.0, 7)]:
        now[0] = at
        hints.publish(0, stream_time)
    hints._producer.flush(1)
    assert len(kafka.records(TOPICS.watermarks)) == 2


def test_a_hint_that_cannot_be_read_is_passed_over() -> None:
    kafka = FakeKafka()
    kafka.append(TOPICS.watermarks, b"\xff", "0", [])
    hints = WatermarkHints(kafka, TOPICS)
    hints.follow()
    assert hints.highest(limit=100) is None


def test_others_are_followed_only_once_they_have_been_ahead_for_long_enough() -> None:
    kafka, now = FakeKafka(), [0.0]
    hints = WatermarkHints(kafka, TOPICS, lambda: now[0], age=60.0)
    seen = []
    for at, stream_time in [(0.0, 5), (30.0, 9), (59.0, 9), (61.0, 7), (95.0, 7), (150.0, 7)]:
        now[0] = at
        hints.publish(0, stream_time)
        hints._producer.flush(1)
        hints.follow()
        seen.append(hints.highest(limit=100))
    assert seen == [None, None, None, 5, 7, 7]
