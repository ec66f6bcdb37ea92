"""The state in its changelog: written once, restored whole, and begun again where it must be."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import FencedError
from ader_stream.monitor.counts.counting import CountingRule
from ader_stream.types import HOUR_MS
from tests.fakes import FakeKafka
from tests.unit.monitor.shop import (
    RULE,
    TOPICS,
    add_sessions,
    blocks,
    five_blocks,
    monitor,
    numbers,
    session,
    shop_topics,
    slices,
)


@pytest.fixture
def kafka() -> FakeKafka:
    """A shop of which everything was counted and committed."""
    kafka = shop_topics()
    for _ in five_blocks(kafka):
        pass
    leader = monitor(kafka)
    leader.poll(0)
    leader.commit()
    return kafka


def written(kafka: FakeKafka) -> dict[bytes | None, bytes | None]:
    """Key → value of the changelog, after compaction."""
    return {record.key(): record.value() for record in kafka.records(TOPICS.monitor_state)}


def test_a_commit_without_a_change_writes_nothing(kafka: FakeKafka) -> None:
    leader = monitor(kafka)
    leader.poll(0)
    before = len(kafka.records(TOPICS.monitor_state))
    leader.commit()
    assert len(kafka.records(TOPICS.monitor_state)) == before


def test_what_is_no_longer_kept_becomes_a_tombstone(kafka: FakeKafka) -> None:
    add_sessions(kafka, 9, 0, session("a", ["hat"], 9 * 4 * HOUR_MS))
    leader = monitor(kafka)
    assert blocks(leader) == [2, 3, 4]
    leader.poll(0)
    leader.commit()
    gone = {key for key, value in written(kafka).items() if value is None}
    assert b"block/2/0/0" in gone
    assert blocks(monitor(kafka)) == [3, 4, 9]


def test_statistics_that_do_not_fit_into_a_record_are_written_in_pieces() -> None:
    kafka = shop_topics()
    for number in range(3):
        items = [f"{number}-{item}-{'x' * 40}" for item in range(1_000)]
        add_sessions(kafka, 0, 0, session(f"v{number}", items, 0))
    leader = monitor(kafka)
    leader.state._piece_bytes = 1_000
    leader.poll(0)
    leader.commit()
    assert len([key for key in written(kafka) if (key or b"").startswith(b"block/0/0/")]) > 1
    assert numbers(monitor(kafka)) == numbers(leader)


def test_a_sessions_topic_that_was_made_again_is_counted_from_its_first_record(
    kafka: FakeKafka,
) -> None:
    kafka.topic_ids[TOPICS.sessions] = "another"
    for partition in range(2):
        kafka.log[TOPICS.sessions, partition].clear()
    add_sessions(kafka, 7, 0, session("a", ["hat"], 0))
    leader = monitor(kafka)
    leader.poll(0)
    assert blocks(leader) == [7]
    leader.commit()
    assert blocks(monitor(kafka)) == [7]
    kept = {key for key, value in written(kafka).items() if value is not None}
    assert not {key for key in kept if (key or b"").startswith(b"block/4")}


def test_records_that_were_deleted_before_they_were_counted_are_told(kafka: FakeKafka) -> None:
    end = len(kafka.log[TOPICS.sessions, 0])
    for _ in range(5):
        add_sessions(kafka, 5, 0, session("a", ["hat"], 0))
    kafka.trimmed[TOPICS.sessions, 0] = end + 3
    leader = monitor(kafka)
    leader.poll(0)
    assert leader.state.sessions[0].place.lost == 3


def test_a_log_that_was_trimmed_before_the_first_start_has_lost_nothing() -> None:
    kafka = shop_topics()
    for _ in range(5):
        add_sessions(kafka, 5, 0, session("a", ["hat"], 0))
    kafka.trimmed[TOPICS.sessions, 0] = 3
    leader = monitor(kafka)
    leader.poll(0)
    place = leader.state.sessions[0].place
    assert (place.lost, place.next_offset) == (0, 5)


def test_slices_of_another_length_are_not_restored_and_fewer_blocks_may_be_kept(
    kafka: FakeKafka,
) -> None:
    leader = monitor(kafka, CountingRule(blocks=2, sliding=2 * HOUR_MS))
    assert (blocks(leader), slices(leader)) == ([3, 4], [])
    leader.commit()
    again = monitor(kafka)
    assert (blocks(again), slices(again)) == ([3, 4], [])


def test_partitions_that_are_added_are_counted(kafka: FakeKafka) -> None:
    leader = monitor(kafka)
    for topic in (TOPICS.sessions, TOPICS.dead_letters):
        kafka.partitions[topic] = 3
    add_sessions(kafka, 5, 2, session("a", ["hat"], 0))
    leader.intake.grow()
    leader.poll(0)
    assert blocks(leader, 2) == [5]


def test_a_leader_that_is_fenced_stops(kafka: FakeKafka) -> None:
    add_sessions(kafka, 5, 0, session("a", ["hat"], 0))
    leader = monitor(kafka)
    leader.poll(0)
    kafka.producers[-1].failures[0] = KafkaError(KafkaError._FENCED, "fenced", fatal=True)
    with pytest.raises(FencedError):
        leader.commit()


def test_a_missing_right_is_raised_after_the_abort(kafka: FakeKafka) -> None:
    add_sessions(kafka, 5, 0, session("a", ["hat"], 0))
    leader = monitor(kafka)
    leader.poll(0)
    refusal = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no", txn_requires_abort=True)
    kafka.producers[-1].failures[0] = refusal
    with pytest.raises(KafkaException):
        leader.commit()
    leader.commit()
    assert blocks(monitor(kafka)) == [3, 4, 5]


def test_a_standby_that_was_frozen_does_not_abort_in_the_name_of_the_leader(
    kafka: FakeKafka,
) -> None:
    def require() -> None:
        if is_fenced:
            raise FencedError("another process leads now")

    is_fenced = False
    leader = monitor(kafka, RULE, require)
    add_sessions(kafka, 5, 0, session("a", ["hat"], 0))
    leader.poll(0)
    kafka.producers[-1].failures[0] = KafkaError(KafkaError._TIMED_OUT, "late", retriable=False)
    kafka.producers[-1].abort_failure = KafkaError(KafkaError._STATE, "must not be asked")
    is_fenced = True
    with pytest.raises(FencedError, match="another process"):
        leader.commit()
