"""A quiet shop is fine, and each fault is found by the signal that it is of."""

from __future__ import annotations

import numpy as np
import pytest

from ader_stream.datasets import ShopSize, SimulatedShop
from ader_stream.datasets.block_sessions import block_sessions
from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.item_counts import ItemCounts
from ader_stream.drift.measurements import measure_recommended
from ader_stream.drift.report import compare, measure
from ader_stream.types import DAY_MS, HOUR_MS, BlockRule, Session
from tests.benchmarks.drift_faults import FAULTS

BLOCKS = 12


@pytest.fixture(scope="module")
def shop() -> list[list[Session]]:
    size = ShopSize(blocks=BLOCKS, sessions=800, items=600)
    shop = SimulatedShop(BlockRule(0, DAY_MS), HOUR_MS, size, seed=4)
    return [list(block_sessions(clicks, HOUR_MS)) for _, clicks in shop.blocks()]


def counted(sessions: list[Session]) -> BlockStatistics:
    statistics = BlockStatistics()
    statistics.add_sessions(sessions)
    return statistics


@pytest.fixture(scope="module")
def before(shop: list[list[Session]]) -> list[BlockStatistics]:
    return [counted(sessions) for sessions in shop[:-1]]


def known(before: list[BlockStatistics]) -> set[str]:
    return {item for block in before for item in block.items.weights()}


def test_a_quiet_block_needs_no_action(
    shop: list[list[Session]], before: list[BlockStatistics]
) -> None:
    found = compare(counted(shop[-1]), before, known(before), known(before))
    assert found.state != "act"
    assert {signal.name for signal in found.signals if signal.state == "insufficient data"} == {
        "exemplar_coverage"
    }


@pytest.mark.parametrize(
    ("fault", "signal"),
    [
        ("a third of the items replaced", "unknown_items"),
        ("popularity flipped", "popularity_psi"),
        ("bot", "busiest_key"),
        ("session gap changed", "session_length"),
        ("units of time mixed", "click_interval"),
    ],
)
def test_a_fault_is_reported_by_its_signal(
    shop: list[list[Session]], before: list[BlockStatistics], fault: str, signal: str
) -> None:
    broken = FAULTS[fault](shop[-1], np.random.default_rng(0))
    found = compare(counted(broken), before, known(before)).signal(signal)
    assert found is not None
    assert found.state in ("watch", "act"), found.reason


def test_a_few_clicks_are_insufficient_not_unusual(
    shop: list[list[Session]], before: list[BlockStatistics]
) -> None:
    found = compare(counted(shop[-1][:20]), before, known(before))
    assert found.state == "insufficient data"


def test_a_first_block_has_nothing_to_compare(shop: list[list[Session]]) -> None:
    found = compare(counted(shop[0]), [])
    assert {signal.state for signal in found.signals} == {"insufficient data"}


def test_a_block_equals_itself(before: list[BlockStatistics]) -> None:
    found = measure(before[0], before[0], known(before))
    shifts = ("popularity_psi", "top_items_psi", "popularity_js", "session_length")
    assert [found[name].value for name in (*shifts, "click_interval", "unknown_items")] == [0.0] * 6


def test_one_item_recommended_to_all_has_no_entropy() -> None:
    counts = ItemCounts()
    counts.update(["hat"] * 20)
    found = measure_recommended(counts, known=10)
    assert (found["recommended_entropy"].value, found["recommended_coverage"].value) == (0.0, 0.1)
