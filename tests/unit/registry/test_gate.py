from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ader_stream.ader.cycle import CycleReport, train_cycle
from ader_stream.ader.dataset import Samples
from ader_stream.ader.exemplars import Exemplars
from ader_stream.ader.model import Architecture
from ader_stream.ader.ranking import top_k
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.state import State
from ader_stream.ader.vocabulary import Vocabulary
from ader_stream.registry.gate import (
    COMPARED_FROM,
    DISPLACED_FROM,
    MISLAID_FROM,
    GateRule,
    Measured,
    displaced,
    measure,
    validation_samples,
    why_rejected,
)
from tests.unit.registry.conftest import SEED, walks

RULE = GateRule(
    max_recall_drop=2.0,
    max_forgetting=4.0,
    max_mislaid=1.0,
    max_displaced=0.5,
    min_item_coverage=0.1,
    max_bytes=1_000,
)
GOOD = Measured(
    COMPARED_FROM,
    recall20=50.0,
    parent_recall20=51.0,
    item_coverage=0.5,
    exemplars=COMPARED_FROM,
    exemplar_recall20=60.0,
    parent_exemplar_recall20=63.0,
    mislaid=0.9,
    displaced=0.4,
)
NONE_HELD_OUT = Samples(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))


def nothing() -> None:
    pass


def test_the_samples_are_those_that_the_cycle_has_held_out(
    cycle: tuple[State, CycleReport], sessions: list[tuple[str, ...]], recipe: Recipe
) -> None:
    state, report = cycle
    held_out = validation_samples(sessions, None, state, recipe, SEED)
    measured = measure(held_out, None, state, nothing)
    assert measured.samples == len(held_out) > COMPARED_FROM
    assert measured.recall20 == report.validation[report.best_epoch - 1]
    assert measured.parent_recall20 is None


def test_they_are_the_cycles_own_along_the_chain_too(state: State, recipe: Recipe) -> None:
    later = walks(0, 20) * 5
    child, report = train_cycle(later, state, recipe, SEED, lambda _: None)
    measured = measure(validation_samples(later, state, child, recipe, SEED), state, child, nothing)
    assert measured.recall20 == report.validation[report.best_epoch - 1]
    assert measured.parent_recall20 is not None


def test_where_nothing_is_held_out_samples_that_were_trained_on_stand_in(
    sessions: list[tuple[str, ...]], state: State, recipe: Recipe
) -> None:
    whole = replace(recipe, validation_share=0.0)
    drawn = validation_samples(sessions, None, state, whole, SEED)
    assert len(drawn) == sum(len(session) - 1 for session in sessions)


def test_samples_with_items_that_the_parent_does_not_know_are_left_out(
    state: State, recipe: Recipe
) -> None:
    later = [("item-0", "item-1", "brand new", "item-2")] * 30
    child, _ = train_cycle(later, state, recipe, SEED, lambda _: None)
    new = child.vocabulary.index("brand new")
    one, two, three = (child.vocabulary.index(f"item-{n}") for n in range(3))
    items = np.array([one, two, new, three], np.int32)
    samples = Samples(items, np.array([0, 0, 0]), np.array([1, 2, 3]))
    assert measure(samples, state, child, nothing).samples == 1


def test_coverage_is_the_share_of_items_in_some_list(state: State, recipe: Recipe) -> None:
    held_out = validation_samples(walks(0, 20) * 6, None, state, recipe, SEED)
    prefixes = [
        held_out.items[s:t].tolist() for s, t in zip(held_out.starts, held_out.targets, strict=True)
    ]
    listed = {int(i) for prefix in prefixes for i in top_k(state.model(), [prefix], 20)[0][0]}
    whole = measure(held_out, None, state, nothing).item_coverage
    assert whole == len(listed) / len(state.vocabulary)
    single = measure(held_out.take(np.array([0])), None, state, nothing).item_coverage
    assert single == pytest.approx(20 / len(state.vocabulary))


def test_where_nothing_is_held_out_nothing_is_measured(state: State) -> None:
    assert measure(NONE_HELD_OUT, None, state, nothing) == Measured(0)
    assert why_rejected(RULE, Measured(0), state, 0) is None


def test_a_good_version_passes(state: State) -> None:
    assert why_rejected(RULE, GOOD, state, 1_000) is None


@pytest.mark.parametrize(
    ("measured", "size", "reason"),
    [
        (replace(GOOD, recall20=48.9), 0, "Recall@20 is 48.90, the parent's 51.00"),
        (replace(GOOD, item_coverage=0.09), 0, "lists hold 9.0000% of the items"),
        (
            replace(GOOD, exemplar_recall20=58.9),
            0,
            "on the parent's exemplars is 58.90, the parent's 63.00; trainer.max_forgetting",
        ),
        (
            replace(GOOD, mislaid=1.1),
            0,
            "1.10% of the exemplars that the parent lists stand behind 25% of all items",
        ),
        (
            replace(GOOD, displaced=0.6),
            0,
            "0.60% of the items that the parent has exemplars of have a row that is nothing like",
        ),
        (GOOD, 1_001, "it has 1001 bytes; models.max_bytes allows 1000"),
    ],
)
def test_a_version_that_fails_is_told_by_what(
    state: State, measured: Measured, size: int, reason: str
) -> None:
    assert reason in (why_rejected(RULE, measured, state, size) or "")


@pytest.mark.parametrize(
    "name", ["recall20", "item_coverage", "exemplar_recall20", "mislaid", "displaced"]
)
def test_a_measure_that_is_not_a_number_does_not_pass(state: State, name: str) -> None:
    assert "nan" in str(why_rejected(RULE, replace(GOOD, **{name: math.nan}), state, 0))


def test_scores_that_are_not_numbers_do_not_pass(
    state: State, sessions: list[tuple[str, ...]], recipe: Recipe
) -> None:
    """All weights are finite: the layer norm's is so large that the scores are not."""
    weights = state.weights | {"norm.weight": torch.full((8,), 3e38)}
    broken = replace(state, weights=weights)
    samples = validation_samples(sessions, None, state, recipe, SEED)
    measured = measure(samples, None, broken, nothing)
    assert 0 < measured.unranked <= len(samples)
    reason = why_rejected(RULE, measured, broken, 0)
    assert (
        reason == f"{measured.unranked} targets have scores that are not numbers; expected numbers"
    )


def test_few_samples_prove_nothing(state: State) -> None:
    few = replace(GOOD, samples=COMPARED_FROM - 1, recall20=0.0)
    assert why_rejected(RULE, few, state, 0) is None
    few = replace(GOOD, exemplars=COMPARED_FROM - 1, exemplar_recall20=0.0)
    assert why_rejected(RULE, few, state, 0) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_rejected(state: State, value: float) -> None:
    name = "norm.weight"
    broken = replace(state, weights=state.weights | {name: torch.full((8,), value)})
    reason = why_rejected(RULE, GOOD, broken, 0)
    assert reason == f"weights are not finite: {name}; expected numbers"


def with_exemplars(recipe: Recipe, count: int) -> State:
    """A version of 200 items that remembers its best guess after the first one so many times."""
    sessions = [(f"item-{n}", f"item-{n + 1}") for n in range(0, 200, 2)]
    state, _ = train_cycle(sessions, None, replace(recipe, max_epochs=1), SEED, lambda _: None)
    best = int(top_k(state.model(), [[1]], 1)[0][0, 0])
    items = np.tile(np.array([1, best], np.int32), count)
    return replace(state, exemplars=Exemplars(items, np.arange(0, 2 * count + 1, 2)))


def test_an_item_that_was_listed_and_stands_far_behind_is_mislaid(recipe: Recipe) -> None:
    state = with_exemplars(recipe, MISLAID_FROM)
    table = state.weights["items.weight"].clone()
    table[state.exemplars.items[1] - 1] *= -1
    child = replace(state, weights=state.weights | {"items.weight": table})
    measured = [measure(NONE_HELD_OUT, state, each, nothing) for each in (state, child)]
    assert [each.mislaid for each in measured] == [0.0, 100.0]


def test_few_exemplars_that_were_listed_tell_nothing_of_what_is_mislaid(recipe: Recipe) -> None:
    state = with_exemplars(recipe, MISLAID_FROM - 1)
    assert measure(NONE_HELD_OUT, state, state, nothing).mislaid is None


def of_rows(table: torch.Tensor, known: int) -> State:
    """A version with exemplars of so many items, and of no other use."""
    items = np.repeat(np.arange(1, known + 1, dtype=np.int32), 2)
    exemplars = Exemplars(items, np.arange(0, 2 * known + 1, 2))
    vocabulary = Vocabulary.of(f"item-{n}" for n in range(len(table)))
    return State({"items.weight": table}, {}, exemplars, vocabulary, Architecture(8, 0, 5))


def displaced_share(table: torch.Tensor, child: torch.Tensor, known: int) -> float | None:
    return displaced(of_rows(table, known), of_rows(child, known))


def test_a_row_that_another_has_taken_the_place_of_is_displaced() -> None:
    table = torch.randn(1_000, 64, generator=torch.Generator().manual_seed(SEED))
    child = table + 0.5 * torch.randn_like(table)
    assert displaced_share(table, child, known=1_000) == 0.0
    child[:10] = table[10:20]
    assert displaced_share(table, child, known=1_000) == 1.0
    child[-10:] = table[:10]  # of those there is no exemplar
    assert displaced_share(table, child, known=800) == 1.25


def test_where_the_table_has_turned_as_a_whole_or_is_small_nothing_is_told() -> None:
    table = torch.randn(1_000, 64, generator=torch.Generator().manual_seed(SEED))
    child = table + 3 * torch.randn_like(table)
    assert displaced_share(table, child, known=1_000) is None
    assert displaced_share(table, table, known=DISPLACED_FROM) == 0.0
    assert displaced_share(table, table, known=DISPLACED_FROM - 1) is None
