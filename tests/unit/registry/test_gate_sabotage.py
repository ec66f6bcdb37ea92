"""Recipe `production` holds nothing out: its gate passes sound versions, and no ruined ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.ader.state import State
from ader_stream.datasets.shop import SimulatedShop
from ader_stream.datasets.shop_catalogue import ShopSize
from ader_stream.registry.gate import GateRule, measure, validation_samples, why_rejected
from ader_stream.settings.groups import TrainerSettings
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, Click

CYCLES = 10
RECIPE = replace(PRODUCTION, hidden=16, exemplars=1_200)
SETTINGS = TrainerSettings()
RULE = GateRule(
    SETTINGS.max_recall_drop,
    SETTINGS.max_forgetting,
    SETTINGS.max_mislaid,
    SETTINGS.max_displaced,
    SETTINGS.min_item_coverage,
    max_bytes=2**30,
)
SEED = 0

Block = list[tuple[str, ...]]


@dataclass
class Cycle:
    block: Block
    parent: State | None
    child: State

    def verdict(self) -> str | None:
        samples = validation_samples(self.block, self.parent, self.child, RECIPE, SEED)
        return why_rejected(
            RULE, measure(samples, self.parent, self.child, lambda: None), self.child, 0
        )


def train(block: Block, parent: State | None, recipe: Recipe = RECIPE) -> Cycle:
    child, _ = train_cycle(block, parent, recipe, SEED, lambda _: None)
    return Cycle(block, parent, child)


@pytest.fixture(scope="module")
def cycles() -> list[Cycle]:
    """Ten cycles of a simulated shop that changes."""
    shop = SimulatedShop(
        BlockRule(0, DAY_MS), 30 * MINUTE_MS, ShopSize(CYCLES, sessions=400, items=300)
    )
    done: list[Cycle] = []
    for _, clicks in shop.blocks():
        done.append(train(visits_of(clicks), done[-1].child if done else None))
    return done


def visits_of(clicks: Iterable[Click]) -> Block:
    visits: dict[str, list[str]] = {}
    for click in clicks:
        visits.setdefault(click.key, []).append(click.item)
    return [tuple(visit) for visit in visits.values()]


def test_ten_sound_versions_in_a_row_pass(cycles: list[Cycle]) -> None:
    assert [cycle.verdict() for cycle in cycles] == [None] * CYCLES


def not_a_number(cycle: Cycle) -> Cycle:
    table = cycle.child.weights["items.weight"].clone()
    table[7, 3] = math.nan
    return with_table(cycle, table)


def scrambled(cycle: Cycle, one_in: int = 5) -> Cycle:
    """A fifth of the items have changed places."""
    rows = np.random.default_rng(1).permutation(len(cycle.child.vocabulary))
    rows = torch.from_numpy(rows[: len(rows) // one_in])
    table = cycle.child.weights["items.weight"].clone()
    table[rows] = table[rows.roll(1)]
    return with_table(cycle, table)


def with_table(cycle: Cycle, table: torch.Tensor) -> Cycle:
    weights = cycle.child.weights | {"items.weight": table}
    return replace(cycle, child=replace(cycle.child, weights=weights))


def hardly_scrambled(cycle: Cycle) -> Cycle:
    """One item in twenty has changed its place: no recall falls by much."""
    return scrambled(cycle, one_in=20)


def diverged(cycle: Cycle) -> Cycle:
    recipe = replace(RECIPE, learning_rate=1_000 * RECIPE.learning_rate)
    return train(cycle.block, cycle.parent, recipe)


def poisoned(cycle: Cycle) -> Cycle:
    """A flood of visits that clicked at random, and nothing held the model to what it knew."""
    rng, items = np.random.default_rng(1), sorted({item for s in cycle.block for item in s})
    flood = [tuple(rng.choice(items, len(s)).tolist()) for s in cycle.block * 10]
    return train(flood, cycle.parent, replace(RECIPE, lambda_base=0.0))


@pytest.mark.parametrize(
    ("ruin", "reason"),
    [
        (not_a_number, "weights are not finite: items.weight"),
        (scrambled, "Recall@20"),
        (hardly_scrambled, "of the exemplars that the parent lists stand behind"),
        (diverged, "Recall@20"),
        (poisoned, "on the parent's exemplars"),
    ],
)
def test_a_ruined_version_is_rejected(
    cycles: list[Cycle], ruin: Callable[[Cycle], Cycle], reason: str
) -> None:
    assert reason in (ruin(cycles[-1]).verdict() or "")


def test_one_item_in_a_hundred_in_anothers_place_is_found() -> None:
    """Recalls and lists hardly show it; the catalogue is large enough to tell."""
    shop = SimulatedShop(BlockRule(0, DAY_MS), 30 * MINUTE_MS, ShopSize(2, sessions=2_000))
    [first, second] = [visits_of(clicks) for _, clicks in shop.blocks()]
    cycle = train(second, train(first, None).child)
    assert cycle.verdict() is None
    assert "a row that is nothing like the parent's" in (scrambled(cycle, 100).verdict() or "")
