from __future__ import annotations

from dataclasses import replace

import pytest

from ader_stream.demo.report import BlockReport, DemoReport, KafkaReport, Update
from ader_stream.types import RECIPROCAL_UNIT, Counts

COUNTS = Counts(
    targets=200,
    hits10=50,
    hits20=100,
    reciprocal10=20 * RECIPROCAL_UNIT,
    reciprocal20=30 * RECIPROCAL_UNIT,
    unknown=7,
)
"""Recall 25 and 50, MRR 10 and 15 percent."""


@pytest.fixture
def report() -> DemoReport:
    """Three blocks: only trained on, both, only scored."""
    first = BlockReport(0, 1_000, 300, update=Update(1, None, 12.5, 9, 4_000, 0.0, 52.5, 0.25))
    second = BlockReport(1, 900, 280, 18.25, 1, COUNTS, Update(2, 1, 8.5, 6, 4_000, 0.4))
    third = BlockReport(2, 800, 250, 9.5, 2, replace(COUNTS, hits20=120))
    return DemoReport(
        dataset="Clicks <of> ours",
        simulated=False,
        kafka=KafkaReport("4.1.0", "an image"),
        clicks_sent=2_700,
        clicks_consumed=2_700,
        sessions_published=830,
        dead_letters=0,
        seconds=61.5,
        blocks=(first, second, third),
    )
