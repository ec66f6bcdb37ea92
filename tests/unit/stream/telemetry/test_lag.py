from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ader_stream.metrics import Metrics
from ader_stream.stream.telemetry.lag import ASK_SECONDS, LagMetrics, Unread
from tests.fakes import Clock, FakeAdmin, FakeKafka

NOW = 1_000.0
"""Seconds since 1970."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lag(kafka: FakeKafka, registry: CollectorRegistry, clock: Clock) -> LagMetrics:
    return LagMetrics(kafka, "clicks", Metrics(registry), clock, lambda: NOW)


def shown(registry: CollectorRegistry, name: str = "ader_lag_seconds") -> float | None:
    return registry.get_sample_value(name, {"partition": "0"})


def write(kafka: FakeKafka, *seconds: float) -> None:
    for at in seconds:
        kafka.append("clicks", b"", timestamp=int(at * 1000))


def test_lag_is_the_time_from_the_last_record_read_to_the_newest(
    kafka: FakeKafka, registry: CollectorRegistry, lag: LagMetrics
) -> None:
    write(kafka, 100, 160, 130)
    for _ in range(2):  # a request, and its answer
        lag.show({0: Unread(2, 100_000)})
    assert (shown(registry), shown(registry, "ader_lag_records")) == (60, 2)
    lag.show({0: Unread(1, 160_000)})  # what is left is late
    assert shown(registry) == 0


def test_who_has_read_all_has_no_lag(registry: CollectorRegistry, lag: LagMetrics) -> None:
    lag.show({0: Unread(0, None)})
    assert (shown(registry), shown(registry, "ader_lag_records")) == (0, 0)


def test_without_a_known_timestamp_only_records_are_shown(
    registry: CollectorRegistry, lag: LagMetrics
) -> None:
    for unread in (Unread(3, None), Unread(3, 100_000)):
        lag.show({0: unread})
        assert (shown(registry), shown(registry, "ader_lag_records")) == (None, 3)


def test_a_record_that_claims_to_be_of_the_future_counts_as_of_now(
    kafka: FakeKafka, registry: CollectorRegistry, lag: LagMetrics
) -> None:
    write(kafka, 100, NOW * 50)
    for _ in range(2):
        lag.show({0: Unread(1, 900_000)})
    assert shown(registry) == NOW - 900


def test_new_records_are_known_at_the_next_request(
    kafka: FakeKafka, registry: CollectorRegistry, lag: LagMetrics, clock: Clock
) -> None:
    write(kafka, 100, 160)
    for newest, seconds in ((200, 60), (300, 100)):
        for _ in range(2):
            lag.show({0: Unread(1, 100_000)})
        assert shown(registry) == seconds
        write(kafka, newest)
        clock.seconds += ASK_SECONDS


def test_a_broker_that_does_not_say_is_logged_once(
    registry: CollectorRegistry, lag: LagMetrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(admin: AdminClient, asked: dict) -> dict:
        answers = offsets(admin, asked)
        for answer in answers.values():
            answer.result = unanswered
        return answers

    def unanswered() -> None:
        raise KafkaException(KafkaError(KafkaError.UNSUPPORTED_VERSION))

    offsets = FakeAdmin.list_offsets
    monkeypatch.setattr(FakeAdmin, "list_offsets", refused)
    with capture_logs() as logs:
        for _ in range(4):
            lag.show({0: Unread(1, 100_000)})
            clock.seconds += ASK_SECONDS
    assert [entry["topic"] for entry in logs] == ["clicks"]
    assert shown(registry) is None
