from __future__ import annotations

import math
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ader_stream.ader.progress import Progress
from ader_stream.metrics import Metrics
from ader_stream.stream.avro.plain import to_plain
from ader_stream.stream.model_registry.manifest import Learning, Manifest
from ader_stream.stream.telemetry.lag import LagMetrics, Unread
from ader_stream.types import DAY_MS, BlockRule
from ader_stream.versions.trainer_metrics import TrainerMetrics
from tests.fakes import FakeKafka, example_manifest

DAYS = BlockRule(0, DAY_MS)


@pytest.fixture
def shown(registry: CollectorRegistry) -> TrainerMetrics:
    return TrainerMetrics(Metrics(registry))


def value(registry: CollectorRegistry, name: str) -> float | None:
    return registry.get_sample_value(f"ader_{name}")


def test_a_backlog_is_reported_in_blocks_and_in_seconds(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    shown.show_backlog([3, 4, 6], DAYS)  # nobody came in block 5
    assert value(registry, "blocks_waiting") == 3
    assert value(registry, "backlog_seconds") == 4 * 86_400
    shown.show_backlog([], DAYS)
    assert (value(registry, "blocks_waiting"), value(registry, "backlog_seconds")) == (0, 0)


def test_a_trainer_that_leads_no_more_shows_no_gauge_of_a_partition_or_a_block(
    registry: CollectorRegistry,
) -> None:
    metrics = Metrics(registry)
    shown, lag = TrainerMetrics(metrics), LagMetrics(FakeKafka(), "sessions", metrics)
    lag.show({0: Unread(0), 1: Unread(0)})
    shown.show_backlog([3], DAYS)
    shown.clear()
    assert [family.name for family in registry.collect() if family.samples] == []
    lag.show({1: Unread(0)})
    assert registry.get_sample_value("ader_lag_records", {"partition": "1"}) == 0


def test_a_backlog_of_blocks_of_different_lengths_is_reported_as_it_is(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    shown.show_backlog([5, 6, 8], DAYS.changed(6, 0, 7 * DAY_MS))  # day 5, and 1, 7 and 7 days
    assert value(registry, "backlog_seconds") == 16 * 86_400


def test_the_log_says_once_that_blocks_wait_and_of_one_nothing(shown: TrainerMetrics) -> None:
    with capture_logs() as logs:
        for waiting in ([1], [1, 2], [1, 2], [1, 2, 3], [3]):
            shown.show_backlog(waiting, DAYS)
    assert [entry["blocks"] for entry in logs] == [2, 3]


@pytest.mark.parametrize(
    ("rejection", "next_offset", "outcome"),
    [("few; joined", 3, "joined"), ("few; left out", 9, "rejected"), (None, 9, "accepted")],
)
def test_a_version_that_could_not_be_judged_is_counted_and_logged_with_its_reason(
    registry: CollectorRegistry,
    shown: TrainerMetrics,
    rejection: str | None,
    next_offset: int,
    outcome: str,
) -> None:
    place = {"partition": 0, "first_offset": 3, "next_offset": next_offset}
    made = example_manifest(
        status="rejected" if rejection else "accepted",
        rejection=rejection,
        gate={"undecided": "few"},
        run={"offsets": [place]},
    )
    with capture_logs() as logs:
        shown.show_published(made, 1.0)
    name = "ader_versions_undecided_total"
    assert registry.get_sample_value(name, {"outcome": outcome}) == 1
    [entry] = [entry for entry in logs if entry["event"] == "version undecided"]
    assert (entry["outcome"], entry["reason"]) == (outcome, "few")


def test_a_running_cycle_is_shown_and_each_of_its_epochs_logged(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    with capture_logs() as logs:
        shown.show_progress(Progress(2, 5, 10, 4.5, 1_000.0))
        shown.show_progress(Progress(2, 10, 10, 4.0, 1_000.0, 50.0, ends_epoch=True))
    assert value(registry, "cycle_epoch") == 2
    assert value(registry, "cycle_epoch_progress_ratio") == 1
    assert value(registry, "cycle_loss") == 4.0
    assert value(registry, "cycle_validation_recall20_ratio") == 0.5
    assert [entry["epoch"] for entry in logs] == [2]


def test_who_leads_no_more_shows_no_gauge(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    shown.show_backlog([3], DAYS)
    shown.show_progress(Progress(2, 10, 10, 4.0, 1_000.0, 50.0, ends_epoch=True))
    shown.show_parent(1)
    shown.show_trained(2.0)
    shown.show_publishing(2)
    shown.show_published(example_manifest(2), 3.0)
    assert {family.type for family in registry.collect()} == {"counter", "gauge"}
    shown.clear()
    assert {family.type for family in registry.collect()} == {"counter"}
    shown.show_backlog([4], DAYS)
    assert value(registry, "blocks_waiting") == 1


def test_a_rejected_version_is_counted_and_its_reason_logged(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    with capture_logs() as logs:
        shown.show_published(example_manifest(4), 0.5)
        shown.show_published(example_manifest(5, status="rejected", rejection="worse"), 0.5)
    assert value(registry, "version_published") == 5
    assert value(registry, "versions_rejected_total") == 1
    assert [entry["event"] for entry in logs] == ["version published", "version rejected"]
    assert logs[1]["reason"] == "worse"


def test_time_goes_to_the_stage_in_which_it_was_spent(registry: CollectorRegistry) -> None:
    now = [0.0]
    shown = TrainerMetrics(Metrics(registry), lambda: now[0])

    def after(seconds: float, stage: str) -> None:
        now[0] += seconds
        shown.show_stage(stage)

    with capture_logs() as logs:
        for seconds, stage in [(9, "calibrate"), (2, "calibrate"), (1, "train"), (5, "validate")]:
            after(seconds, stage)
        after(1, "train")
        now[0] += 4
        shown.show_idle()
        after(100, "load")
    spent = {
        stage: registry.get_sample_value("ader_cycle_stage_seconds_total", {"stage": stage})
        for stage in ("calibrate", "train", "validate", "load")
    }
    assert spent == {"calibrate": 3, "train": 9, "validate": 1, "load": None}
    assert [entry["stage"] for entry in logs] == ["calibrate", "load"]


def test_before_the_first_batch_there_is_no_loss_to_show(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    shown.show_progress(Progress(0, 0, 0, math.nan, 0.0, stage="calibrate"))
    assert value(registry, "cycle_loss") is None


def test_items_that_left_with_a_version_are_counted_and_logged(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    with capture_logs() as logs:
        shown.show_published(of_items(9, left=3), 0.0)
        shown.show_published(replace(of_items(5, left=4), rejection="they are still there"), 0.0)
        shown.show_published(of_items(8, left=0), 0.0)
    assert (value(registry, "version_items"), value(registry, "items_left_total")) == (8, 3)
    [line] = [entry for entry in logs if entry["event"] == "items left"]
    assert (line["items"], line["known"], line["recall_at_risk"]) == (3, 9, 0.25)


def of_items(items: int, left: int) -> Manifest:
    counts = {"items": items, "left_items": left, "recall_at_risk": 0.25}
    return example_manifest(report=counts)


def test_what_a_version_has_forgotten_and_learned_is_shown_as_far_as_it_is_known(
    registry: CollectorRegistry, shown: TrainerMetrics
) -> None:
    measured = {
        "forgetting_recall20": 2.5,
        "forgetting_mrr20": 1.0,
        "plasticity_recall20": 40.0,
        "distillation_share": 60.0,
    }
    names = ("forgetting_recall20", "forgetting_mrr20", "plasticity_recall20", "distillation")
    run = {"learning": to_plain(Learning(**measured))}
    shown.show_published(example_manifest(report={"adaptive_weight": 1.5}, run=run), 1.0)
    values = [value(registry, f"version_{name}_ratio") for name in names]
    assert values == [0.025, 0.01, 0.4, 0.6]
    assert value(registry, "version_adaptive_weight") == 1.5
    run["learning"] |= {"plasticity_recall20": None, "parent_plasticity_recall20": 30.0}
    shown.show_published(example_manifest(run=run), 1.0)
    assert value(registry, "version_plasticity_recall20_ratio") == 0.3
    rejected = example_manifest(2, status="rejected", rejection="too bad")
    shown.show_published(rejected, 1.0)
    assert value(registry, "version_forgetting_recall20_ratio") == 0.025
    shown.show_published(example_manifest(3), 1.0)
    assert [value(registry, f"version_{name}_ratio") for name in names] == [None] * 4
    assert value(registry, "version_adaptive_weight") == 0
