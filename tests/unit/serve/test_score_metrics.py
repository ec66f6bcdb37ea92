from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.serve.score_metrics import SHOWN, ScoreMetrics
from ader_stream.types import RECIPROCAL_UNIT, Counts

COUNTS = Counts(5, 2, 3, RECIPROCAL_UNIT, RECIPROCAL_UNIT + RECIPROCAL_UNIT // 4, 1)


@pytest.fixture
def scores(registry: CollectorRegistry) -> ScoreMetrics:
    return ScoreMetrics(Metrics(registry))


def shown(registry: CollectorRegistry, name: str, **labels: object) -> dict[tuple[str, ...], float]:
    """Block, version and what other labels there are → value."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == f"ader_prequential_{name}_total"
    }


def test_counts_are_shown_by_block_and_version(
    registry: CollectorRegistry, scores: ScoreMetrics
) -> None:
    scores.add(4, 3, COUNTS)
    scores.add(4, 3, COUNTS)
    scores.add(5, 4, Counts(targets=1))
    assert shown(registry, "targets") == {("4", "3"): 10, ("5", "4"): 1}
    assert shown(registry, "unknown_items") == {("4", "3"): 2, ("5", "4"): 0}
    hits = shown(registry, "hits")
    assert (hits["4", "3", "10"], hits["4", "3", "20"]) == (4, 6)
    ranks = shown(registry, "reciprocal_ranks")
    assert (ranks["4", "3", "10"], ranks["4", "3", "20"]) == (2, 2.5)


NAMES = ("targets", "unknown_items", "hits", "reciprocal_ranks")


@pytest.mark.parametrize("name", NAMES)
def test_only_the_newest_pairs_are_shown(
    registry: CollectorRegistry, scores: ScoreMetrics, name: str
) -> None:
    for block in range(3 * SHOWN):
        scores.add(block, block, COUNTS)
    blocks = {int(labels[0]) for labels in shown(registry, name)}
    assert blocks == set(range(2 * SHOWN, 3 * SHOWN))


@pytest.mark.parametrize("name", NAMES)
def test_a_partition_that_lags_far_behind_adds_no_label(
    registry: CollectorRegistry, scores: ScoreMetrics, name: str
) -> None:
    for block in range(100, 100 + SHOWN):
        scores.add(block, block, COUNTS)
    for block in range(20):
        scores.add(block, block, COUNTS)
    assert {int(labels[0]) for labels in shown(registry, name)} == set(range(100, 100 + SHOWN))
