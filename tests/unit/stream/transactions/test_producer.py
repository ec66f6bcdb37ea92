from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from ader_stream.errors import TopicError
from ader_stream.stream.kafka.producing import produce
from ader_stream.stream.transactions.producer import (
    TransactionalProducer,
    send_offsets_as_outsider,
    sole_producer,
)
from tests.dying_clients import DyingKafka
from tests.fakes import FakeKafka, FakeProducer

RETRIABLE = KafkaError(KafkaError._TIMED_OUT, retriable=True)
FINAL = KafkaError(KafkaError._TIMED_OUT, "timed out", txn_requires_abort=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ader_stream.stream.kafka.producing.SETTLE_SECONDS", 0.05)


def write(client: Producer) -> str:
    produce(client, "topic", "key", b"value")
    return "written"


def test_a_transaction_returns_what_has_filled_it() -> None:
    producer = TransactionalProducer(FakeProducer(FakeKafka()))
    assert producer.transact(write) == "written"
    assert (producer.client.committed, producer.is_open) == ([1], False)


def test_a_producer_that_can_abort_stays_usable() -> None:
    client = FakeProducer(FakeKafka(), failures={0: FINAL})
    producer = TransactionalProducer(client)
    with pytest.raises(KafkaException):
        producer.transact(write)
    assert producer.is_open
    assert producer.abort(FINAL)
    assert (producer.is_open, client.is_settled) == (False, False)
    producer.begin()  # nothing is left of the one before
    assert not producer.abort(RETRIABLE)
    assert client.is_settled


def test_a_commit_is_repeated_while_that_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ader_stream.stream.transactions.requests.PAUSE_SECONDS", 0.0)
    client = FakeProducer(FakeKafka(), failures={0: RETRIABLE, 1: RETRIABLE})
    TransactionalProducer(client).transact(write)
    assert client.committed == [1]


def test_a_sole_producer_is_given_up_at_the_end() -> None:
    kafka = FakeKafka()
    with sole_producer(kafka.producer("id")) as producer:
        producer.transact(write)
    assert kafka.producers[0].is_settled
    assert len(kafka.records("topic")) == 1


def test_a_client_error_becomes_what_the_caller_says_after_the_abort() -> None:
    kafka = FakeKafka()
    client = kafka.producer("id")
    client.failures[0] = FINAL

    def failure(exception: KafkaException) -> TopicError:
        return TopicError(f"failed: {exception.args[0].str()}")

    with (
        pytest.raises(TopicError, match="failed: timed out"),
        sole_producer(client, failure) as one,
    ):
        one.transact(write)
    assert not one.is_open
    assert kafka.records("topic") == []


@pytest.mark.parametrize("interruption", [TopicError("too large"), KeyboardInterrupt()])
def test_what_interrupts_a_transaction_leaves_none_open(interruption: BaseException) -> None:
    """Readers would wait for it until the broker aborts it."""
    kafka = FakeKafka()

    def interrupt(client: Producer) -> None:
        write(client)
        raise interruption

    with pytest.raises(type(interruption)), sole_producer(kafka.producer("id")) as producer:
        producer.transact(interrupt)
    assert not producer.is_open
    assert not kafka.producers[0]._is_open


def test_what_ends_before_a_transaction_aborts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka refuses to abort a transaction that was not begun."""
    kafka, aborts = FakeKafka(), list[float]()
    monkeypatch.setattr(
        FakeProducer, "abort_transaction", lambda _, timeout: aborts.append(timeout)
    )
    with pytest.raises(TopicError), sole_producer(kafka.producer("id")):
        raise TopicError("nothing to do")
    assert (aborts, kafka.producers[0].is_settled) == ([], True)


def test_offsets_of_a_group_are_committed_without_joining_it() -> None:
    kafka = DyingKafka({"clicks": 1})
    place = TopicPartition("clicks", 0, 7)
    with sole_producer(kafka.producer("id")) as producer:
        producer.transact(lambda _: send_offsets_as_outsider(producer, kafka, "group", [place]))
    assert kafka.offsets == {0: 7}
    assert kafka.members == 0
