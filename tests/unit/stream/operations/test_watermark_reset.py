from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from ader_stream.errors import OffsetError
from ader_stream.stream.avro.codec import decode
from ader_stream.stream.operations.watermark_reset import EventTime, event_times, reset_watermark
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.types import BlockRule
from tests.fakes import FakeKafka
from tests.unit.stream.sessions.test_task import (
    PARTITION,
    TOPICS,
    Sessionizer,
    click,
    keys_of,
    open_keys,
    written,
)

BLOCKS = BlockRule(0, 1000)


def jumped(kafka: FakeKafka) -> Sessionizer:
    """A sessionizer whose event time stands far ahead of its clicks."""
    sessionizer = Sessionizer(kafka, CollectorRegistry()).restore()
    sessionizer.process(click("a", 10), click("b", 9000, offset=1))
    sessionizer.commit()
    return sessionizer


def reset(kafka: FakeKafka, watermark: int) -> EventTime:
    return reset_watermark(kafka, TOPICS, BLOCKS, 0, PARTITION, watermark)


def test_event_time_is_shown_as_committed(kafka: FakeKafka) -> None:
    jumped(kafka)
    places = [*event_times(kafka, TOPICS, PARTITION + 1)]
    assert places == [
        EventTime(0, None, None, -1),
        EventTime(1, None, None, -1),
        EventTime(PARTITION, 9000, 9, 2),
    ]


def test_after_a_reset_clicks_have_their_own_times_again(kafka: FakeKafka) -> None:
    jumped(kafka)
    assert reset(kafka, 20) == EventTime(PARTITION, 20, 0, 2)
    successor = Sessionizer(kafka, CollectorRegistry()).restore()
    successor.process(click("c", 30, offset=2), click("d", 500, offset=3))
    successor.commit()
    assert open_keys(successor.task) == {"b", "d"}
    assert keys_of(kafka)[-1] == ["c"]
    assert successor.task._window.late_clicks == 0


def test_a_reset_is_logged_for_those_who_follow(kafka: FakeKafka) -> None:
    jumped(kafka)
    reset(kafka, 20)
    assert written(kafka, TOPICS.sessions)[-1][1:] == (
        "WatermarkReset",
        {"partition": PARTITION, "next_offset": 2, "watermark": 20, "open_block": 0},
    )


def test_a_reset_corrects_the_hint_for_other_partitions(kafka: FakeKafka) -> None:
    hints = WatermarkHints(kafka, TOPICS)
    hints.publish(PARTITION, 9000)
    hints._producer.flush(1)
    jumped(kafka)
    reset(kafka, 20)
    hints.follow()
    assert hints.highest(limit=10_000) == 20


def test_a_partition_without_clicks_has_nothing_to_correct(kafka: FakeKafka) -> None:
    with pytest.raises(OffsetError, match="no watermark yet"):
        reset(kafka, 20)
    assert not kafka.records(TOPICS.sessions, PARTITION)


def test_a_reset_moves_back_alone(kafka: FakeKafka) -> None:
    jumped(kafka)
    with pytest.raises(OffsetError, match="is at 9000 ms, which is not after 9000"):
        reset(kafka, 9000)


def test_a_reset_changes_the_state_alone_that_it_is_about(kafka: FakeKafka) -> None:
    jumped(kafka)
    before = dict(decode(*last_state(kafka))[1])
    reset(kafka, 20)
    after = decode(*last_state(kafka))[1]
    assert after == before | {"watermark": 20, "open_block": 0, "jumps": []}


def last_state(kafka: FakeKafka) -> tuple[bytes, list[tuple[str, bytes]]]:
    record = kafka.records(TOPICS.sessionizer_state, PARTITION)[-1]
    return record.value(), record.headers()
