"""A fall of recall is named by what else has changed."""

from __future__ import annotations

import pytest

from ader_stream.drift.history import History
from ader_stream.drift.measurements import Measurement, Measurements
from ader_stream.drift.quality import measure_quality
from ader_stream.drift.report import DriftReport, report
from ader_stream.drift.thresholds import Usual
from ader_stream.paired import GROUPS, PairedCounts, Sums
from ader_stream.types import RECIPROCAL_UNIT, Counts

BEFORE = {
    "recall20": 0.4,
    "unknown_items": 0.05,
    "click_interval": 0.01,
    "popularity_psi": 0.02,
    "recall_of_validation": 1.0,
}
HISTORY = History({name: [Usual(value, 0.001)] * 8 for name, value in BEFORE.items()})


def judged(paired: PairedCounts | None = None, **changed: float) -> DriftReport:
    values = BEFORE | changed
    measured: Measurements = {n: Measurement(v, 0.001, "1 click") for n, v in values.items()}
    return report(measured, HISTORY, paired)


def cause_of(found: DriftReport) -> str:
    signal = found.signal("recall20")
    assert signal is not None
    return signal.cause


def compared(gain: int) -> PairedCounts:
    group = Sums(1_000, gain, 0)
    return PairedCounts(Sums(1_000 * GROUPS, 400 * GROUPS, 0), (group,) * GROUPS)


def test_without_a_fall_there_is_no_cause() -> None:
    assert judged().state == "fine"
    assert cause_of(judged()) == ""


def test_other_items_make_it_the_data() -> None:
    assert cause_of(judged(recall20=0.05, unknown_items=0.7)) == "data"


def test_sessions_of_another_shape_make_it_the_pipeline() -> None:
    found = judged(recall20=0.05, click_interval=0.5, unknown_items=0.7)
    assert cause_of(found) == "pipeline"


def test_nothing_else_makes_it_the_model() -> None:
    assert cause_of(judged(recall20=0.05)) == "model"


def test_a_better_version_before_makes_it_the_model_whatever_the_data() -> None:
    found = judged(compared(-100), recall20=0.05, unknown_items=0.7)
    assert cause_of(found) == "model"
    assert found.state == "act"


def test_a_version_that_is_not_worse_is_fine() -> None:
    found = judged(compared(+100)).signal("version_difference")
    assert found is not None
    assert found.state == "fine"
    assert found.bounds is not None


def test_versions_that_scored_few_clicks_are_not_compared() -> None:
    found = judged(PairedCounts()).signal("version_difference")
    assert found is not None
    assert found.state == "insufficient data"


def test_quality_is_what_was_counted() -> None:
    counts = Counts(targets=200, hits10=40, hits20=50, reciprocal20=20 * RECIPROCAL_UNIT)
    found = measure_quality(counts, 2.0, validation_recall20=50.0)
    assert found["recall20"].value == 0.25
    assert found["mrr20"].value == 0.1
    assert found["recall_of_validation"].value == 0.5
    assert found["recall20"].noise == pytest.approx((0.25 * 0.75 / 100) ** 0.5)
    assert measure_quality(Counts()) == {}
