"""Recipe `production` holds nothing out: its gate passes sound versions, and no ruined ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.evaluate import score_sessions
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.datasets.shop import SimulatedShop
from ader_stream.datasets.shop_catalogue import ShopSize
from ader_stream.settings.groups import TrainerSettings
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, Click
from ader_stream.versions.gate.verdict import (
    GateRule,
    Verdict,
    judge,
    measure,
    validation_samples,
    why_undecided,
)

CYCLES = 10
RECIPE = replace(PRODUCTION, hidden=16, exemplars=1_200)
SETTINGS = TrainerSettings()
RULE = GateRule(
    SETTINGS.max_recall_drop,
    SETTINGS.max_forgetting,
    SETTINGS.max_negative_flips,
    SETTINGS.max_embedding_drift,
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

    held_out: Samples

    def judged(self) -> Verdict:
        samples = validation_samples(self.held_out, self.block, self.child)
        held_out = len(self.held_out) > 0
        measured = measure(samples, self.parent, self.child, lambda: None, held_out=held_out)
        return judge(RULE, measured, self.child, 0)

    def verdict(self) -> str | None:
        return self.judged().rejection


def train(block: Block, parent: State | None, recipe: Recipe = RECIPE) -> Cycle:
    result = train_cycle(block, parent, recipe, SEED, lambda _: None)
    return Cycle(block, parent, result.state, result.held_out)


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


def wholly_scrambled(cycle: Cycle) -> Cycle:
    return scrambled(cycle, one_in=1)


def half_scrambled(cycle: Cycle) -> Cycle:
    return scrambled(cycle, one_in=2)


def swapped(cycle: Cycle) -> Cycle:
    """Every row stands for another item."""
    items = list(cycle.child.vocabulary.items)
    others = Vocabulary.of(items[1:] + items[:1])
    return replace(cycle, child=replace(cycle.child, vocabulary=others))


def half_swapped(cycle: Cycle) -> Cycle:
    """Every other pair of rows stand for each other's items."""
    items = list(cycle.child.vocabulary.items)
    for row in range(0, len(items) - 1, 4):
        items[row], items[row + 1] = items[row + 1], items[row]
    return replace(cycle, child=replace(cycle.child, vocabulary=Vocabulary.of(items)))


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
        (hardly_scrambled, "a row that is nothing like the parent's"),
        (half_scrambled, "Recall@20"),
        (wholly_scrambled, "Recall@20"),
        (swapped, "of its parent's rows are of other items"),
        (half_swapped, "of its parent's rows are of other items"),
        (diverged, "Recall@20"),
        (poisoned, "on the parent's exemplars"),
    ],
)
def test_a_ruined_version_is_rejected(
    cycles: list[Cycle], ruin: Callable[[Cycle], Cycle], reason: str
) -> None:
    assert reason in (ruin(cycles[-1]).verdict() or "")


NEXT = "of what others clicked next are behind"
CO_CLICKS = "of the pairs that co-clicks tell apart"


@pytest.mark.parametrize(
    ("ruin", "reason"),
    [
        (not_a_number, "weights are not finite: items.weight"),
        (scrambled, CO_CLICKS),
        (half_scrambled, NEXT),
        (wholly_scrambled, NEXT),
        (swapped, NEXT),
        (half_swapped, NEXT),
        (diverged, CO_CLICKS),
    ],
)
def test_a_ruined_first_version_does_not_pass(
    cycles: list[Cycle], ruin: Callable[[Cycle], Cycle], reason: str
) -> None:
    assert cycles[0].parent is None
    assert reason in (ruin(cycles[0]).verdict() or "")


@pytest.fixture(scope="module")
def all_new(cycles: list[Cycle]) -> Cycle:
    """A block of items that its parent does not know, as after a shop has moved."""
    moved = [tuple(f"new {item}" for item in visit) for visit in cycles[0].block]
    return train(moved, cycles[-1].child)


def test_a_sound_version_of_an_all_new_block_passes(all_new: Cycle) -> None:
    assert all_new.verdict() is None


def test_new_rows_in_each_others_places_are_found(all_new: Cycle) -> None:
    assert all_new.parent
    known, items = len(all_new.parent.vocabulary), len(all_new.child.vocabulary)
    rows = known + np.random.default_rng(1).permutation(items - known)
    table = all_new.child.weights["items.weight"].clone()
    table[torch.from_numpy(rows)] = table[torch.from_numpy(np.roll(rows, 1))]
    assert NEXT in (with_table(all_new, table).verdict() or "")


def at_random(count: int, items: Sequence[str]) -> Block:
    rng = np.random.default_rng(0)
    return [tuple(rng.choice(items, 4).tolist()) for _ in range(count)]


@pytest.mark.parametrize("held_out", [0.0, 0.3])
@pytest.mark.parametrize("items", [100, 1_500])
def test_a_first_version_of_random_visits_is_undecided(held_out: float, items: int) -> None:
    """It knows them by heart or not at all, and what comes next follows from nothing."""
    visits = at_random(400, [f"item-{number}" for number in range(items)])
    cycle = train(visits, None, replace(RECIPE, validation_share=held_out))
    verdict = cycle.judged()
    assert "too little is known of it" in str(verdict.rejection)
    assert verdict.joins
    found = verdict.measured.pairwise_accuracy
    assert found.has_learnt == (not held_out)
    assert not found.can_be_learnt


def test_a_block_of_random_visits_to_known_items_is_undecided(cycles: list[Cycle]) -> None:
    last = cycles[-1]
    visits = at_random(400, sorted({item for visit in last.block for item in visit}))
    assert "may be chance" in str(train(visits, last.child).verdict())


def test_a_shop_that_is_rearranged_is_learnt_again(cycles: list[Cycle]) -> None:
    """The parent knows every item and nothing of what now goes with what."""
    [first, *_, last] = cycles
    items = sorted({item for visit in first.block for item in visit})
    moved = dict(zip(items, np.random.default_rng(1).permutation(items).tolist(), strict=True))
    found = train([tuple(moved[i] for i in visit) for visit in first.block], last.child).judged()
    assert found.measured.undecided is None
    assert found.measured.pairwise_accuracy.can_be_learnt


@pytest.fixture(scope="module")
def sparse() -> Cycle:
    """A first version of a shop with more items than visits, as recorded logs have them."""
    shop = SimulatedShop(
        BlockRule(0, DAY_MS), 30 * MINUTE_MS, ShopSize(1, sessions=1_000, items=3_000)
    )
    [(_, clicks)] = shop.blocks()
    return train(visits_of(clicks), None)


def constant(cycle: Cycle) -> Cycle:
    return with_table(cycle, torch.ones_like(cycle.child.weights["items.weight"]))


def test_a_sound_first_version_of_a_sparse_log_passes(sparse: Cycle) -> None:
    assert sparse.verdict() is None


@pytest.mark.parametrize("ruin", [wholly_scrambled, swapped, constant])
def test_a_first_version_of_a_sparse_log_that_knows_no_item_does_not_pass(
    sparse: Cycle, ruin: Callable[[Cycle], Cycle]
) -> None:
    """Few items were clicked often enough for a list, and popular ones are a percent of all."""
    assert "too little is known of it" in str(why_undecided(RULE, ruin(sparse).judged().measured))


def test_one_bot_decides_nothing(cycles: list[Cycle]) -> None:
    """Its thousands of clicks are one session: the others decide, or there are too few of them."""
    bot = tuple(f"item-{n % 40}" for n in range(4_000))
    alone = train([bot], None)
    assert "too little is known of it: on 1 sessions" in str(alone.verdict())
    last = cycles[-1]
    among_others = train([*last.block, bot], last.parent)
    assert among_others.verdict() is None
    assert score(among_others.child, last.block) > score(last.child, last.block) - 5


def score(state: State, block: Block) -> float:
    return score_sessions(state.model(), state.vocabulary, block).percentages()["recall@20"]


@pytest.mark.parametrize("sessions", [1, 2, 5])
def test_a_tiny_first_block_waits_for_the_next_one_and_a_tiny_later_one_does_not(
    cycles: list[Cycle], sessions: int
) -> None:
    [first, *_, last] = cycles
    tiny, later = (
        [visit for visit in each.block if len(visit) > 1][:sessions] for each in (first, last)
    )
    assert "they are trained again with the next block" in str(train(tiny, None).verdict())
    assert train(later, last.parent).verdict() is None


def test_a_tiny_block_does_not_hide_that_rows_changed_places(cycles: list[Cycle]) -> None:
    last = cycles[-1]
    tiny = train(last.block[:5], last.parent)
    assert "on the parent's exemplars" in str(half_scrambled(tiny).verdict())


def test_one_item_in_a_hundred_in_anothers_place_is_found() -> None:
    """Recalls and lists hardly show it; the catalogue is large enough to tell."""
    shop = SimulatedShop(BlockRule(0, DAY_MS), 30 * MINUTE_MS, ShopSize(2, sessions=2_000))
    [first, second] = [visits_of(clicks) for _, clicks in shop.blocks()]
    cycle = train(second, train(first, None).child)
    assert cycle.verdict() is None
    assert "a row that is nothing like the parent's" in (scrambled(cycle, 100).verdict() or "")
