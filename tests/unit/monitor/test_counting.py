"""What is counted of a partition, and what is kept of it."""

from __future__ import annotations

import pytest

from ader_stream.errors import NewerSchemaError
from ader_stream.monitor.counts.counting import BLOCK, CountingRule, Span
from ader_stream.monitor.leader import Leader
from ader_stream.stream.avro.codec import SCHEMA_HEADER, TYPE_HEADER, encode
from ader_stream.types import HOUR_MS
from tests.fakes import FakeKafka, example
from tests.unit.monitor.shop import (
    BLOCK_MS,
    TOPICS,
    add_letter,
    add_sessions,
    blocks,
    end_block,
    monitor,
    session,
    shop_topics,
    slices,
)


@pytest.fixture
def kafka() -> FakeKafka:
    return shop_topics()


def read(kafka: FakeKafka, rule: CountingRule | None = None) -> Leader:
    leader = monitor(kafka, rule) if rule else monitor(kafka)
    leader.poll(0)
    return leader


def test_counts_the_sessions_of_a_block(kafka: FakeKafka) -> None:
    late = session("b", ["hat"], 5) | {"carried": [{"position": 0, "time": 1}]}
    add_sessions(kafka, 0, 0, session("a", ["hat", "hat", "shoe"], 0), late)
    counts = read(kafka).state.sessions[0].spans[Span(BLOCK, 0)]
    found = counts.statistics
    assert (found.sessions, found.clicks, found.repeat_clicks, counts.late) == (2, 4, 1, 1)
    assert found.items.weights() == {"hat": 3, "shoe": 1}


def test_keeps_the_newest_blocks_only(kafka: FakeKafka) -> None:
    for block in range(5):
        add_sessions(kafka, block, 0, session("a", ["hat"], block * BLOCK_MS))
    assert blocks(read(kafka)) == [2, 3, 4]


def test_slices_span_the_sliding_time_and_one_more(kafka: FakeKafka) -> None:
    minutes = range(0, 180, 10)
    visits = [session("a", ["hat"], minute * 60_000) for minute in minutes]
    add_sessions(kafka, 0, 0, *visits)
    assert slices(read(kafka)) == [11, 12, 13, 14, 15, 16, 17]


def test_a_session_that_is_older_than_every_slice_counts_for_its_block_alone(
    kafka: FakeKafka,
) -> None:
    add_sessions(kafka, 0, 0, session("a", ["hat"], 3 * HOUR_MS))
    add_sessions(kafka, 0, 0, session("b", ["hat"], 0))
    leader = read(kafka)
    assert slices(leader) == [18]
    assert leader.state.sessions[0].spans[Span(BLOCK, 0)].statistics.sessions == 2


def test_remembers_the_last_ended_block_and_that_a_watermark_was_moved_back(
    kafka: FakeKafka,
) -> None:
    end_block(kafka, 4, 0)
    leader = read(kafka)
    assert leader.state.sessions[0].place.ended_block == 4
    value = example("WatermarkReset") | {"open_block": 2}
    data, headers = encode("WatermarkReset", value)
    kafka.append(TOPICS.sessions, data, "0", headers)
    leader.poll(0)
    assert leader.state.sessions[0].place.ended_block == 1


def test_counts_refused_clicks_by_reason_and_unknown_reasons_as_one(kafka: FakeKafka) -> None:
    for reason in ("late", "late", "malformed", "of the future", "also new"):
        add_letter(kafka, 1, reason, HOUR_MS)
    hours = read(kafka).state.letters[1].place.hourly.hours
    assert hours == {1: {"late": 2, "malformed": 1, "other": 2}}


def test_forgets_hours_of_the_day_before(kafka: FakeKafka) -> None:
    for hour in range(30):
        add_letter(kafka, 0, "late", hour * HOUR_MS)
    assert sorted(read(kafka).state.letters[0].place.hourly.hours) == list(range(6, 30))


def test_a_damaged_record_and_an_unknown_type_are_skipped_and_counted(kafka: FakeKafka) -> None:
    _, headers = encode("BlockEnd", example("BlockEnd"))
    kafka.append(TOPICS.sessions, b"", "0", headers)
    kafka.append(TOPICS.sessions, b"x", "0", [(TYPE_HEADER, b"Newer"), (SCHEMA_HEADER, b"0")])
    add_sessions(kafka, 0, 0, session("a", ["hat"], 0))
    leader = read(kafka)
    assert leader.state.sessions[0].place.skipped == 2
    assert blocks(leader) == [0]


def test_counting_stops_at_a_record_of_a_newer_schema_and_goes_on_after_the_update(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sessions(kafka, 0, 0, session("a", ["hat"], 0))
    newer = [(TYPE_HEADER, b"SessionBatch"), (SCHEMA_HEADER, b"newer")]
    kafka.append(TOPICS.sessions, b"", "0", newer)
    add_sessions(kafka, 1, 0, session("a", ["hat"], BLOCK_MS))
    add_sessions(kafka, 0, 1, session("b", ["hat"], 0))
    leader = read(kafka)
    leader.commit()
    assert leader.state.sessions[0].place.next_offset == 1
    assert (blocks(leader, 0), blocks(leader, 1)) == ([0], [0])
    [reason] = leader.intake.unreadable.values()
    assert "update this process" in reason

    kafka.remove(kafka.records(TOPICS.sessions)[1])  # as if it could be read
    updated = read(kafka)
    assert (blocks(updated, 0), updated.intake.unreadable) == ([0, 1], {})


def test_a_state_of_a_newer_monitor_is_refused(kafka: FakeKafka) -> None:
    newer = [(TYPE_HEADER, b"MonitorPlace"), (SCHEMA_HEADER, b"newer")]
    kafka.append(TOPICS.monitor_state, b"", "place/sessions/0", newer)
    with pytest.raises(NewerSchemaError, match="update this process"):
        monitor(kafka)
