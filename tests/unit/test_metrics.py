from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder, generate_latest

from ader_stream import metrics as m
from ader_stream.metrics import CATALOGUE, Metric, Metrics

BOUNDED_LABELS = {
    "bound",
    "outcome",
    "partition",
    "reason",
    "block",
    "version",
    "k",
    "path",
    "status",
    "stage",
    "what",
    "code",
    "python",
    "torch",
    "librdkafka",
    "digest",
    "prefix",
    "recipe",
    "client",
    "broker",
    "state",
    "signal",
    "scope",
    "level",
    "role",
    "against",
}
"""Block and version stay bounded because a worker shows the newest ones only."""

SUFFIX_OF_UNIT = {"seconds": "seconds", "seconds since 1970": "seconds", "ratio": "ratio"}
NOT_BASE_UNITS = re.compile(
    r"_(ms|millis|milliseconds|minutes|hours|days|kb|mb|gb|kilobytes|megabytes|percent)(_|$)"
)

every_metric = pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)


@every_metric
def test_a_name_is_ours_and_in_base_units(metric: Metric) -> None:
    assert re.fullmatch(r"ader(_[a-z][a-z0-9]*)+", metric.name)
    assert not NOT_BASE_UNITS.search(metric.name)
    if suffix := SUFFIX_OF_UNIT.get(metric.unit):
        assert metric.name.removesuffix("_total").endswith(f"_{suffix}")


@every_metric
def test_total_stands_on_counters_and_on_nothing_else(metric: Metric) -> None:
    assert metric.name.endswith("_total") is (metric.kind is Counter)


@every_metric
def test_no_label_grows_without_bound(metric: Metric) -> None:
    assert set(metric.labels) <= BOUNDED_LABELS


@every_metric
def test_a_metric_says_what_it_means(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert metric.unit
    assert bool(metric.buckets) is (metric.kind is Histogram)
    assert list(metric.buckets) == sorted(metric.buckets)


def test_every_metric_of_the_file_is_in_the_catalogue_once() -> None:
    declared = [value for value in vars(m).values() if isinstance(value, Metric)]
    assert declared == CATALOGUE
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


def test_every_metric_can_be_registered_and_shown() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for metric in CATALOGUE:
        built = metrics[metric]
        child = built.labels(*("1" for _ in metric.labels)) if metric.labels else built
        use = {Counter: "inc", Gauge: "set", Histogram: "observe"}[metric.kind]
        getattr(child, use)(1)
    shown = generate_latest(registry).decode()
    assert all(f"# HELP {metric.name} {metric.meaning}" in shown for metric in CATALOGUE)


def test_of_a_partition_that_was_given_up_no_gauge_is_shown_and_every_counter() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    by_partition = [metric for metric in CATALOGUE if "partition" in metric.labels]
    for metric in by_partition:
        for partition in ("3", "33"):
            labels = dict.fromkeys(metric.labels, "x") | {"partition": partition}
            metrics[metric].labels(**labels).inc()
    metrics.drop_gauges(partition=3)
    shown = {metric: set() for metric in by_partition}
    for metric in by_partition:
        for sample in metrics[metric].collect()[0].samples:
            shown[metric].add(sample.labels["partition"])
    assert shown == {
        metric: {"33"} if metric.kind is Gauge else {"3", "33"} for metric in by_partition
    }


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_no_series_says_when_a_counter_was_created(accept: str) -> None:
    metrics = Metrics(CollectorRegistry())
    metrics[m.CYCLES].inc()
    metrics[m.SWAP_SECONDS].observe(1)
    encode, _ = choose_encoder(accept)
    shown = encode(metrics.registry)
    assert b"ader_cycles_total 1.0" in shown
    assert b"_created" not in shown


def test_a_metric_is_built_once() -> None:
    metrics = Metrics(CollectorRegistry())
    assert metrics[m.CLICKS] is metrics[m.CLICKS]


def test_threads_that_use_a_metric_first_at_the_same_time_share_it() -> None:
    for _ in range(50):
        metrics, together = Metrics(CollectorRegistry()), Barrier(4)

        def use(metrics: Metrics = metrics, together: Barrier = together) -> Counter:
            together.wait()
            return metrics[m.FALLBACKS]

        with ThreadPoolExecutor(4) as pool:
            built = [pool.submit(use) for _ in range(4)]
        assert len({id(future.result()) for future in built}) == 1
