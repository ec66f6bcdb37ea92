from __future__ import annotations

from itertools import count

import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.paired import GROUPS, FallbackRule, Pair, PairedCounts, Sums
from ader_stream.stream.control.commands import Command, decode_command
from ader_stream.stream.scores.paired_log import PairedKey, encode_paired
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import RECIPROCAL_UNIT
from ader_stream.versions.canary import JUDGE_SECONDS, CanaryWatch
from tests.fakes import FakeKafka

TOPICS = Topics("ader")
PAIR = Pair(stable=3, canary=5)
RULE = FallbackRule(margin=0.01, min_clicks=6_400)


def score(kafka: FakeKafka, hits: int, partition: int = 0, clicks: int = 100) -> None:
    """Let the canary have so many hits more in each group."""
    differences = tuple(
        Sums(clicks, hits + group % 2, hits * RECIPROCAL_UNIT // 2) for group in range(GROUPS)
    )
    counts = PairedCounts(Sums(clicks * GROUPS, 20, 20), differences)
    key, value, headers = encode_paired(PairedKey(7, *PAIR, partition), counts)
    kafka.append(TOPICS.scores, value, key, headers)


def commands(kafka: FakeKafka) -> list[Command]:
    return [decode_command(record) for record in kafka.records(TOPICS.control)]


def watch(
    kafka: FakeKafka, registry: CollectorRegistry, rule: FallbackRule | None = RULE
) -> CanaryWatch:
    clock = count(step=2 * JUDGE_SECONDS)
    return CanaryWatch(kafka, TOPICS, rule, Metrics(registry), lambda: next(clock))


def shown(registry: CollectorRegistry, bound: str) -> float | None:
    name = "ader_canary_recall20_difference_ratio"
    return registry.get_sample_value(name, {"bound": bound})


def test_the_difference_over_all_partitions_is_shown(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    score(kafka, hits=10)
    score(kafka, hits=20, partition=1)
    watch(kafka, registry).look(PAIR)
    lower, estimate, upper = (shown(registry, bound) for bound in ("lower", "estimate", "upper"))
    assert estimate == pytest.approx(0.155)
    assert 0.14 < lower < estimate < upper < 0.17
    assert registry.get_sample_value("ader_canary_compared_clicks") == 12_800


def test_sums_are_added_up_once_a_second_and_nothing_is_lost(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    now = [0.0]
    watching = CanaryWatch(kafka, TOPICS, RULE, Metrics(registry), lambda: now[0])
    found = []
    for partition, now[0] in enumerate((0.0, 0.5, 0.9, 1.0)):
        score(kafka, hits=10, partition=partition)
        watching.look(PAIR)
        found.append(registry.get_sample_value("ader_canary_compared_clicks"))
    assert found == [6_400, 6_400, 6_400, 25_600]
    now[0] = 2.0
    watching.look(PAIR)  # nothing new
    assert registry.get_sample_value("ader_canary_compared_clicks") == 25_600


def test_without_a_canary_nothing_is_shown(kafka: FakeKafka, registry: CollectorRegistry) -> None:
    score(kafka, hits=10)
    watching = watch(kafka, registry)
    watching.look(None)
    assert shown(registry, "estimate") is None
    watching.look(PAIR)
    assert shown(registry, "estimate") is not None
    watching.look(None)
    assert shown(registry, "estimate") is None


def test_a_canary_that_is_certainly_worse_falls_back_once_and_says_why(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    score(kafka, hits=-10)
    watching = watch(kafka, registry)
    watching.look(PAIR)
    score(kafka, hits=-12)
    watching.look(PAIR)
    watching.close()
    [command] = commands(kafka)
    assert (command.command, command.version, command.stable) == ("fallback", 5, 3)
    assert command.reason.startswith("worse than version 3: Recall@20 -9.50 [")
    assert command.reason.endswith("] percentage points over 6,400 clicks")
    assert command.at > 0
    assert registry.get_sample_value("ader_canary_fallbacks_total") == 1


def test_who_pins_it_again_has_it_judged_again(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    score(kafka, hits=-10)
    watching = watch(kafka, registry)
    for pair in (PAIR, None, PAIR):
        watching.look(pair)
    watching.close()
    assert len(commands(kafka)) == 2


def test_a_fallback_that_was_not_delivered_is_written_again(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    score(kafka, hits=-10)
    watching = watch(kafka, registry)
    [producer] = kafka.producers
    producer.refusal = KafkaError(KafkaError._MSG_TIMED_OUT)
    watching.look(PAIR)
    producer.flush(1)
    producer.refusal = None
    score(kafka, hits=-11)
    watching.look(PAIR)
    watching.close()
    assert [command.version for command in commands(kafka)] == [5]


@pytest.mark.parametrize(
    ("hits", "clicks", "rule"),
    [
        (10, 100, RULE),
        (0, 100, RULE),
        (-10, 99, RULE),
        (-10, 100, RULE._replace(margin=0.2)),
        (-10, 100, None),
    ],
    ids=["better", "alike", "too-few-clicks", "within-the-margin", "off"],
)
def test_otherwise_a_canary_stays(
    kafka: FakeKafka,
    registry: CollectorRegistry,
    hits: int,
    clicks: int,
    rule: FallbackRule | None,
) -> None:
    score(kafka, hits, clicks=clicks)
    watching = watch(kafka, registry, rule)
    watching.look(PAIR)
    watching.close()
    assert commands(kafka) == []
    assert registry.get_sample_value("ader_canary_compared_clicks") == clicks * GROUPS
