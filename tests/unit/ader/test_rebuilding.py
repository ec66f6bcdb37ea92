"""Another architecture than the parent's: a new model is trained, and the parent teaches it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ader_stream.ader.artifact.parts import decode_state, encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.dataset import Sessions
from ader_stream.ader.evaluate import score_sessions
from ader_stream.ader.methods import ADER
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.ader.retention import Retention
from ader_stream.versions.attempt import Watch, attempt_cycle
from ader_stream.versions.gate.verdict import GateRule, WhenUndecided

Block = list[tuple[str, ...]]

SEED = 0
SMALL: dict[str, Any] = {
    "hidden": 16,
    "maxlen": 6,
    "batch_size": 32,
    "max_epochs": 8,
    "exemplars": 120,
    "learning_rate": 0.02,
    "validation_share": 0.0,
    "item_bound": 0.2,
}
CORE = replace(PRODUCTION, **SMALL)
RECIPES = {
    "core": CORE,
    "wider": replace(CORE, hidden=24),
    "two members": replace(CORE, members=2),
    "transformer": replace(PAPER, **SMALL, dropout=0.1),
    "longer transformer": replace(PAPER, **(SMALL | {"maxlen": 9}), dropout=0.1),
}
CHANGES = [
    ("core", "transformer"),
    ("transformer", "core"),
    ("core", "wider"),
    ("wider", "core"),
    ("core", "two members"),
    ("longer transformer", "transformer"),
]
RULE = GateRule(5.0, 10.0, 10.0, 0.5, 0.001, 2**30, WhenUndecided.ACCEPT)

every_change = pytest.mark.parametrize(("before", "after"), CHANGES)


def walks(seed: int, first: int, items: int = 30, count: int = 60) -> Block:
    """Sessions along a ring of items: `first` and those behind it."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(items, size=count), rng.integers(2, 7, size=count)
    return [
        tuple(f"item-{first + (start + step) % items}" for step in range(length))
        for start, length in zip(starts, lengths, strict=True)
    ]


OLD, NEW = walks(0, first=0), walks(1, first=15)


def cycle(
    block: Block, parent: State | None, recipe: Recipe, earlier: Sessions = ()
) -> tuple[State, CycleReport]:
    method = replace(ADER, earlier=earlier)
    result = train_cycle(block, parent, recipe, SEED, lambda _: None, method)
    return result.state, result.report


@pytest.fixture(scope="module")
def parents() -> dict[str, State]:
    return {name: cycle(OLD, None, recipe)[0] for name, recipe in RECIPES.items()}


def recall(state: State, sessions: Block) -> float:
    return score_sessions(state.model(), state.vocabulary, sessions).percentages()["recall@10"]


@every_change
def test_a_new_model_passes_the_gate_and_knows_the_new_block_and_what_the_parent_knew(
    before: str, after: str, parents: dict[str, State]
) -> None:
    recipe, parent = RECIPES[after], parents[before]
    watch = Watch(lambda _: None, lambda: None)
    made = attempt_cycle(NEW, parent, recipe, SEED, RULE, watch)
    assert made.rejection is None
    assert made.measured
    assert made.measured.embedding_drift is None
    assert made.state
    assert made.state.architecture == recipe.architecture
    report = made.report
    assert (report.is_rebuilt, report.new_items, report.earlier_sessions) == (True, 15, 0)
    alone, _ = cycle(NEW, None, recipe)
    again = walks(2, first=15)
    assert recall(made.state, again) > recall(alone, again) - 4
    known_to_parent_alone = walks(2, first=0, items=15)
    assert recall(made.state, known_to_parent_alone) > 0.7 * recall(parent, known_to_parent_alone)


def test_the_version_after_it_continues_as_any_other(parents: dict[str, State]) -> None:
    first, _ = cycle(NEW, parents["core"], RECIPES["wider"])
    _, report = cycle(NEW, first, RECIPES["wider"])
    assert not report.is_rebuilt
    assert report.new_items == 0


def test_the_same_inputs_give_the_same_bytes(parents: dict[str, State]) -> None:
    parent = parents["core"]
    again = decode_state(encode_parts(parent))
    one, other = (cycle(NEW, p, RECIPES["wider"], OLD)[0] for p in (parent, again))
    assert encode_parts(one) == encode_parts(other)


def test_earlier_blocks_are_trained_again_and_not_counted_twice(parents: dict[str, State]) -> None:
    """As far as the items are still known."""
    parent, strangers = parents["core"], [("nobody", "knows", "them")] * 9
    without, _ = cycle(NEW, parent, RECIPES["wider"])
    state, report = cycle(NEW, parent, RECIPES["wider"], [*OLD, *strangers])
    clicks = sum(map(len, OLD)) - len(OLD)
    assert report.earlier_sessions == len(OLD) + 9
    assert report.train_samples == cycle(NEW, parent, RECIPES["wider"])[1].train_samples + clicks
    for name in ("clicks", "companions", "together"):
        assert torch.equal(state.weights[name], without.weights[name])


def test_what_the_parent_has_not_counted_is_counted_of_earlier_blocks(
    parents: dict[str, State],
) -> None:
    state, _ = cycle(NEW, parents["transformer"], CORE, OLD)
    old = [state.vocabulary.index(item) for item in sorted({item for s in OLD for item in s})]
    assert all(row and state.weights["together"][row - 1].any() for row in old)
    kept, _ = cycle(NEW, parents["transformer"], RECIPES["transformer"])
    assert torch.equal(state.weights["clicks"], kept.weights["clicks"])


def test_where_the_model_is_the_same_earlier_blocks_are_left_alone(
    parents: dict[str, State],
) -> None:
    with_them, report = cycle(NEW, parents["core"], CORE, OLD)
    assert (report.is_rebuilt, report.earlier_sessions) == (False, 0)
    assert encode_parts(with_them) == encode_parts(cycle(NEW, parents["core"], CORE)[0])


def test_items_leave_as_they_would_from_the_same_model(parents: dict[str, State]) -> None:
    method = replace(ADER, retention=Retention(1), earlier=OLD)
    bare = replace(
        parents["core"], exemplars=parents["core"].exemplars.keep(np.zeros(30, np.bool_))
    )
    result = train_cycle(NEW, bare, RECIPES["wider"], SEED, lambda _: None, method)
    state, report = result.state, result.report
    assert report.left_items == 15
    assert set(state.vocabulary.items) == {item for session in NEW for item in session}
