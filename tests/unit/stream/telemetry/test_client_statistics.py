from __future__ import annotations

import json
from typing import Any

import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.stream.kafka.clients import STATISTICS_SECONDS, KafkaClients
from ader_stream.stream.telemetry.client_statistics import EXPIRES_AFTER, ClientStatistics
from tests.fakes import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def take(registry: CollectorRegistry, clock: Clock) -> ClientStatistics:
    return ClientStatistics(Metrics(registry), clock)


def broker(node: int, state: str = "UP", p99: int = 0, waiting: int = 0, **fields: Any) -> Any:
    """What librdkafka says of a broker; p99 in microseconds."""
    return {
        "name": f"host:9092/{node}",
        "nodeid": node,
        "source": "learned",
        "state": state,
        "outbuf_cnt": waiting,
        "waitresp_cnt": 1,
        "rtt": {"p99": p99},
    } | fields


def statistics(name: str, *brokers: Any, kind: str = "producer", **fields: Any) -> str:
    by_name = {broker["name"]: broker for broker in brokers}
    return json.dumps({"type": kind, "name": name, "msg_cnt": 5, "brokers": by_name} | fields)


def group(count: int, join_state: str = "steady", state: str = "up") -> dict[str, Any]:
    return {"rebalance_cnt": count, "join_state": join_state, "state": state}


def of_broker(
    registry: CollectorRegistry, name: str, broker: str = "1", client: str = "producer"
) -> float | None:
    return registry.get_sample_value(f"ader_kafka_{name}", {"client": client, "broker": broker})


def test_clients_of_a_kind_are_shown_as_one(
    registry: CollectorRegistry, take: ClientStatistics
) -> None:
    take(statistics("p-1", broker(1, p99=3_000, waiting=2)))
    take(statistics("p-2", broker(1, "CONNECT", p99=1_000)))
    take(statistics("c-1", broker(1), kind="consumer", cgrp=group(0)))
    assert of_broker(registry, "connected") == 0
    assert of_broker(registry, "waiting_requests") == 4
    assert of_broker(registry, "round_trip_seconds") == pytest.approx(0.003)
    assert registry.get_sample_value("ader_kafka_queued_messages") == 10
    assert of_broker(registry, "connected", client="consumer") == 1


def test_a_coordinator_is_shown_and_an_unused_broker_is_not(
    registry: CollectorRegistry, take: ClientStatistics
) -> None:
    bootstrap = broker(-1, "CONNECT", source="configured", name="host:9092/bootstrap")
    coordinator = broker(-1, "DOWN", source="logical", name="TxnCoordinator")
    take(statistics("p-1", broker(1), broker(2, "INIT"), bootstrap, coordinator))
    shown = {broker: of_broker(registry, "connected", broker) for broker in ("1", "2", "-1")}
    assert shown == {"1": 1, "2": None, "-1": None}
    assert of_broker(registry, "connected", "TxnCoordinator") == 0


def test_a_broker_that_is_gone_is_shown_no_more(
    registry: CollectorRegistry, take: ClientStatistics
) -> None:
    take(statistics("p-1", broker(1), broker(2)))
    take(statistics("p-1", broker(2)))
    assert [of_broker(registry, "connected", node) for node in ("1", "2")] == [None, 1]


def test_a_client_that_reports_nothing_more_does_not_count(
    registry: CollectorRegistry, take: ClientStatistics, clock: Clock
) -> None:
    take(statistics("p-1", broker(1, "DOWN")))
    clock.seconds = EXPIRES_AFTER * STATISTICS_SECONDS["producer"]
    take(statistics("p-2", broker(1)))
    assert of_broker(registry, "connected") == 1


def test_rebalances_of_successive_clients_add_up(
    registry: CollectorRegistry, take: ClientStatistics
) -> None:
    for name, count in (("c-1", 1), ("c-1", 3), ("c-2", 1), ("c-2", 1)):
        take(statistics(name, kind="consumer", cgrp=group(count)))
    assert registry.get_sample_value("ader_rebalances_total") == 4


def test_the_state_in_the_group_is_one(registry: CollectorRegistry, take: ClientStatistics) -> None:
    for state in (group(0, "wait-join"), group(0, "init", state="wait-coord")):
        take(statistics("c-1", kind="consumer", cgrp=state))
    [family] = [family for family in registry.collect() if family.name == "ader_group_state"]
    assert [sample.labels for sample in family.samples] == [{"state": "wait-coord"}]


def test_what_librdkafka_reports_is_understood(
    registry: CollectorRegistry, take: ClientStatistics
) -> None:
    reported: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": "127.0.0.1:1",
            "statistics.interval.ms": 1,
            "stats_cb": reported.append,
            "error_cb": lambda _: None,
            "log_level": 0,
        }
    )
    while not reported:
        producer.poll(0.1)
    take(reported[-1])
    assert registry.get_sample_value("ader_kafka_queued_messages") == 0


def test_only_clients_that_are_polled_report_statistics(take: ClientStatistics) -> None:
    clients = KafkaClients("127.0.0.1:1").observed(take)
    assert clients._statistics("producer")["stats_cb"] is take
    assert KafkaClients("127.0.0.1:1")._statistics("consumer") == {}
