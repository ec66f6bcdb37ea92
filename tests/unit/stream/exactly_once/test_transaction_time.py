from __future__ import annotations

from functools import partial

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.stream.exactly_once import loop as exactly_once
from ader_stream.stream.exactly_once.takeover import KeptProducer, Taking
from ader_stream.stream.exactly_once.transaction_time import MOST_MS, TransactionTime
from tests.dying_clients import ABORTED, DyingKafka, DyingProducer
from tests.unit.stream.kafka.test_dying_clients import copy_all, copying_tasks, when_copied


def test_a_transaction_that_was_too_slow_gets_twice_the_time() -> None:
    time = TransactionTime(10_000)
    time.note_failure(0, 8.9)
    assert time.of(0) == 10_000
    for seconds, given in ((10.2, 20_000), (12.0, 20_000), (20.1, 40_000), (40.0, 80_000)):
        time.note_failure(0, seconds)
        assert time.of(0) == given
    assert time.of(1) == 10_000


def test_no_time_is_so_long_that_the_group_gives_the_member_up() -> None:
    time = TransactionTime(10_000)
    for _ in range(9):
        time.note_failure(0, 1_000.0)
    assert time.of(0) == MOST_MS
    assert TransactionTime(400_000).of(0) == 400_000, "the setting counts"


def test_a_time_that_the_broker_does_not_allow_is_not_asked_for_again() -> None:
    time = TransactionTime(10_000)
    time.note_failure(0, 10.0)
    time.note_failure(0, 20.0)
    assert time.note_refusal(0)
    assert time.of(0) == 20_000
    time.note_failure(0, 20.0)
    assert time.of(0) == 20_000
    assert time.note_refusal(0)
    assert time.of(0) == 10_000
    assert not time.note_refusal(0), "the setting itself: nothing shorter is left"


class StrictKafka(DyingKafka):
    """Allows transactions of a given time, which those of a size need."""

    allowed_ms = 40_000
    needed_ms = 0

    def producer(self, transactional_id: str | None = None, **options: object) -> DyingProducer:
        producer = StrictProducer(self)
        producer.has_ms = int(str(options["transaction_timeout_ms"]))
        self.producers.append(producer)
        return producer


class StrictProducer(DyingProducer):
    """A producer whose commits need time."""

    has_ms = 0

    def init_transactions(self, timeout: float) -> None:
        if self.has_ms > self.kafka.allowed_ms:
            error = KafkaError(KafkaError.INVALID_TRANSACTION_TIMEOUT, "too long", fatal=True)
            raise KafkaException(error)

    def commit_transaction(self, timeout: float) -> None:
        if self.has_ms < self.kafka.needed_ms:
            raise KafkaException(ABORTED)
        super().commit_transaction(timeout)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> StrictKafka:
    """Every transaction that fails has failed for lack of time."""
    monkeypatch.setattr("ader_stream.stream.exactly_once.transaction_time.SLOW", 0.0)
    monkeypatch.setattr(exactly_once, "back_off", lambda _: 0.0)
    monkeypatch.setattr("ader_stream.stream.kafka.producing.SETTLE_SECONDS", 0.05)
    return StrictKafka()


def test_a_partition_whose_transactions_are_slow_is_committed_in_the_end(
    kafka: StrictKafka,
) -> None:
    kafka.needed_ms = 40_000
    assert copy_all(kafka, partial(when_copied, kafka)) == [b"\0", b"\1", b"\2"]
    assert [producer.has_ms for producer in kafka.producers] == [10_000, 20_000, 40_000]
    assert all(producer.is_settled for producer in kafka.producers)
    assert kafka.members == 1


def test_a_partition_is_taken_with_what_the_broker_allows(kafka: StrictKafka) -> None:
    kafka.allowed_ms = 15_000
    time = TransactionTime(10_000)
    time.note_failure(0, 10.0)
    taking = Taking(kafka, "clicks", "group", "earliest", copying_tasks, time)
    producers = taking.producers({0, 1}, {})
    held = taking.restore(producers, lambda: None)
    assert [(one.producer.client.has_ms, one.transaction_ms) for one in held.values()] == 2 * [
        (10_000, 10_000)
    ]


def test_a_producer_is_kept_unless_its_partition_needs_more_time(kafka: StrictKafka) -> None:
    time = TransactionTime(10_000)
    taking = Taking(kafka, "clicks", "group", "earliest", copying_tasks, time)
    before = taking.producers({0, 1}, {})
    time.note_failure(1, 10.0)
    kept = {partition: KeptProducer(one, 10_000) for partition, one in before.items()}
    after = taking.producers({0, 1}, kept)
    assert after[0] is before[0]
    assert (after[1].client.has_ms, before[1].client.is_settled) == (20_000, True)
