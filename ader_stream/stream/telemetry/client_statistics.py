"""Show what librdkafka's statistics say about the connections and the group of a worker."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from prometheus_client import Gauge

from ader_stream import metrics as m
from ader_stream.metrics import Metric, Metrics
from ader_stream.stream.kafka.clients import STATISTICS_SECONDS

EXPIRES_AFTER = 3
"""Intervals after which a client that reports nothing more is taken for closed."""

CONNECTED = ("UP", "UPDATE")
UNUSED = "INIT"
"""State of a broker that the client has not needed so far, or no longer needs."""

MICROSECOND = 1e-6


class _Broker(NamedTuple):
    """One client's view of a broker."""

    is_connected: bool
    waiting: int
    round_trip: float


@dataclass(frozen=True)
class _Client:
    """Last statistics of one client."""

    expires_at: float
    messages: int
    brokers: Mapping[str, _Broker]


class ClientStatistics:
    """Show the statistics of all clients of a process; pass it to `KafkaClients.observed`.

    The series of clients of one kind (consumer, producer) are merged: a worker has a producer for
    each partition. Thread-safe, because librdkafka calls it from the thread of any request.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: defaultdict[str, dict[str, _Client]] = defaultdict(dict)
        self._rebalances: dict[str, int] = {}

    def __call__(self, text: str) -> None:
        """Take the statistics of one client, as JSON."""
        statistics = json.loads(text)
        kind, name = statistics["type"], statistics["name"]
        with self._lock:
            now = self._clock()
            clients = {n: c for n, c in self._clients[kind].items() if c.expires_at > now}
            clients[name] = _client_of(statistics, now)
            self._clients[kind] = clients
            self._show_clients(kind)
            if group := statistics.get("cgrp"):
                self._show_group(name, group)

    def _show_clients(self, kind: str) -> None:
        views: defaultdict[str, list[_Broker]] = defaultdict(list)
        for client in self._clients[kind].values():
            for broker, view in client.brokers.items():
                views[broker].append(view)
        self._show(
            m.KAFKA_CONNECTED, kind, {b: min(v.is_connected for v in views[b]) for b in views}
        )
        self._show(m.KAFKA_REQUESTS, kind, {b: sum(v.waiting for v in views[b]) for b in views})
        self._show(
            m.KAFKA_ROUND_TRIP, kind, {b: max(v.round_trip for v in views[b]) for b in views}
        )
        if kind == "producer":
            messages = sum(client.messages for client in self._clients[kind].values())
            self._metrics[m.KAFKA_MESSAGES].set(messages)

    def _show(self, metric: Metric[Gauge], kind: str, values: Mapping[str, float]) -> None:
        """Set a gauge of each broker, and remove those of brokers that are gone."""
        gauge = self._metrics[metric]
        [family] = gauge.collect()
        for sample in family.samples:
            if sample.labels["client"] == kind and sample.labels["broker"] not in values:
                gauge.remove(kind, sample.labels["broker"])
        for broker, value in values.items():
            gauge.labels(client=kind, broker=broker).set(value)

    def _show_group(self, name: str, group: Mapping[str, Any]) -> None:
        count = group["rebalance_cnt"]
        self._metrics[m.REBALANCES].inc(max(0, count - self._rebalances.get(name, 0)))
        self._rebalances = {name: count}  # a new client counts from 0
        state = group["join_state"] if group["state"] == "up" else group["state"]
        self._metrics[m.GROUP_STATE].clear()
        self._metrics[m.GROUP_STATE].labels(state=state).set(1)


def _client_of(statistics: Mapping[str, Any], now: float) -> _Client:
    expires_at = now + EXPIRES_AFTER * STATISTICS_SECONDS[statistics["type"]]
    return _Client(expires_at, statistics["msg_cnt"], dict(_brokers_of(statistics)))


def _brokers_of(statistics: Mapping[str, Any]) -> Iterator[tuple[str, _Broker]]:
    """Yield the brokers that a client needs; coordinators have connections of their own."""
    for broker in statistics["brokers"].values():
        is_coordinator = broker["source"] == "logical"
        if broker["state"] == UNUSED or (broker["nodeid"] < 0 and not is_coordinator):
            continue
        yield (
            broker["name"] if is_coordinator else str(broker["nodeid"]),
            _Broker(
                broker["state"] in CONNECTED,
                broker["outbuf_cnt"] + broker["waitresp_cnt"],
                broker["rtt"]["p99"] * MICROSECOND,
            ),
        )
