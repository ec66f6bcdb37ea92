"""How large the records of a topic may be."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from ader_stream.errors import SettingsError, TopicError
from ader_stream.stream.kafka.clients import BATCH_BYTES, MAX_RECORD_BYTES, KafkaClients
from ader_stream.stream.kafka.limits import KAFKA_DEFAULT, SMALLEST, RecordLimits, record_limits
from tests.fakes import FakeAdmin, FakeKafka


def limited(**limits: int) -> FakeKafka:
    """A cluster whose topics take so many bytes in a record."""
    kafka = FakeKafka()
    for topic, limit in limits.items():
        kafka.configs[topic]["max.message.bytes"] = str(limit)
    return kafka


def test_a_record_fits_all_of_its_topics_and_the_client() -> None:
    limits = RecordLimits({"small": 300_000, "large": 10**9})
    assert limits.room("small", "large") == limits.room("small") < 300_000
    assert limits.room("large") == RecordLimits({"x": MAX_RECORD_BYTES}).room("x")
    assert limits.room("nobody asked") == RecordLimits({"x": KAFKA_DEFAULT}).room("x")
    assert RecordLimits({"large": 10**9}, client=300_000).room("large") == limits.room("small")


def test_the_topics_are_asked() -> None:
    limits = record_limits(limited(a=500_000), "a", "b")  # type: ignore[arg-type]
    assert limits == RecordLimits({"a": 500_000, "b": KAFKA_DEFAULT})


def test_a_topic_that_takes_hardly_anything_is_refused() -> None:
    kafka: Any = limited(a=SMALLEST - 1)
    with pytest.raises(TopicError, match=rf"a: max\.message\.bytes = 262143; .* {SMALLEST}"):
        record_limits(kafka, "a")


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"message.max.bytes": "5000"}, r"message\.max\.bytes = 5000; expected at least"),
        ({"batch.size": "2000000"}, r"batch\.size = 2000000; expected at most"),
    ],
)
def test_a_producer_that_cannot_fit_its_topics_is_refused(
    properties: dict[str, str], problem: str
) -> None:
    kafka: Any = FakeKafka(properties=properties)
    kafka.max_record_bytes = KafkaClients("x", properties).max_record_bytes
    with pytest.raises(SettingsError, match=problem):
        record_limits(kafka, "a")


def answer_with(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def answer(_: FakeAdmin, asked: list[Any]) -> dict[Any, Any]:
        failed = Future[Any]()
        failed.set_exception(KafkaException(KafkaError(code)))
        return dict.fromkeys(asked, failed)

    monkeypatch.setattr(FakeAdmin, "describe_configs", answer)


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._TIMED_OUT])
def test_a_broker_that_does_not_answer_is_no_topic_with_kafkas_default(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    answer_with(monkeypatch, code)
    kafka: Any = limited(a=300_000)
    with pytest.raises(TopicError, match=r"a: its .* is not known"):
        record_limits(kafka, "a")


def test_who_may_not_ask_continues_with_kafkas_default_and_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_with(monkeypatch, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    kafka: Any = limited(a=300_000)
    with capture_logs() as logs:
        assert record_limits(kafka, "a").topics == {"a": KAFKA_DEFAULT}
    [line] = logs
    assert line["topic"] == "a"
    assert "DescribeConfigs" in line["event"]


def test_batches_are_no_larger_than_the_smallest_topic_takes() -> None:
    clients = KafkaClients("x")
    assert RecordLimits({"a": 10**7}).fitted(clients).batch_bytes == BATCH_BYTES
    small = RecordLimits({"a": 300_000, "b": 10**7}).fitted(clients)
    assert small.batch_bytes < 300_000
    assert RecordLimits({"b": 10**7}).fitted(small) == small
