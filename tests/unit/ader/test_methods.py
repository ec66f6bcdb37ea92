from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.methods import METHODS, CycleContext, fixed_weight, method
from ader_stream.ader.recipes import PAPER, Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.ader.training.losses import CycleSizes
from ader_stream.ader.training.split import prepare_data
from ader_stream.artifact import content_digest
from ader_stream.errors import SettingsError

Block = list[tuple[str, ...]]
Blocks = Callable[[int, int], Block]


def second_cycle(tiny: Recipe, block: Blocks, name: str) -> tuple[State, State, CycleReport]:
    how = method(name)
    parent = train_cycle(block(0, 12), None, tiny, 0, lambda _: None, how).state
    result = train_cycle(block(1, 15), parent, tiny, 0, lambda _: None, how)
    state, report = result.state, result.report
    return parent, state, report


OF_THE_PAPER = {
    *("ader", "finetune", "dropout", "ewc", "joint"),
    *("er-herding", "er-random", "er-loss", "ader-equal", "ader-fix"),
}
"""Others may join them in `METHODS`."""


def test_every_method_that_the_paper_compares_is_there() -> None:
    assert set(METHODS) >= OF_THE_PAPER


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'gru' is not known; use one of: ader, finetune"):
        method("gru")


def test_fine_tuning_and_ewc_train_without_dropout_and_the_others_with_it() -> None:
    dropout = {name: METHODS[name].adapt(PAPER).dropout for name in OF_THE_PAPER}
    assert {name for name, share in dropout.items() if not share} == {"finetune", "ewc"}
    assert set(dropout.values()) == {0.0, 0.3}


def test_methods_without_a_past_keep_no_exemplars() -> None:
    kept = {name: METHODS[name].adapt(PAPER).exemplars for name in OF_THE_PAPER}
    assert {name for name, n in kept.items() if not n} == {"finetune", "dropout", "joint"}
    assert set(kept.values()) == {0, 30_000}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_trains_a_second_cycle(tiny: Recipe, block: Blocks, name: str) -> None:
    _, state, report = second_cycle(tiny, block, name)
    assert all(math.isfinite(loss) for loss in report.losses)
    assert len(state.exemplars) <= method(name).adapt(tiny).exemplars


@pytest.mark.parametrize("name", ["ader", "er-herding", "er-random", "er-loss", "ader-equal"])
def test_replay_is_weighed_adaptively(tiny: Recipe, block: Blocks, name: str) -> None:
    parent, _, report = second_cycle(tiny, block, name)
    ratio = 12 / 15 * len(parent.exemplars) / report.train_samples
    assert report.adaptive_weight == pytest.approx(0.8 * math.sqrt(ratio))


@pytest.mark.parametrize("name", ["ader-fix", "ewc"])
def test_weight_is_fixed_where_the_paper_fixes_it(tiny: Recipe, block: Blocks, name: str) -> None:
    _, _, report = second_cycle(tiny, block, name)
    assert report.adaptive_weight == tiny.lambda_base


def test_fixed_weight_without_exemplars_is_zero() -> None:
    assert fixed_weight(0.8, CycleSizes(0, 9, exemplars=0, train_samples=9)) == 0.0


def test_methods_differ_in_what_they_come_to(tiny: Recipe, block: Blocks) -> None:
    first = train_cycle(block(0, 12), None, tiny, 0, lambda _: None).state
    digests = set()
    for name in ("ader", "er-herding", "ader-fix", "dropout", "ader-equal", "ewc"):
        state = train_cycle(block(1, 15), first, tiny, 0, lambda _: None, method(name)).state
        digests.add(content_digest(encode_parts(state)))
    assert len(digests) == 6


def test_joint_gathers_every_block_and_forgets_its_parent(tiny: Recipe, block: Blocks) -> None:
    parent = train_cycle(block(0, 12), None, tiny, 0, lambda _: None).state
    blocks: list[Block] = [[("a", "b")], [("c",)], [("d", "e")]]
    sessions = [("a", "b"), ("c",), ("d", "e")]
    assert method("joint").training_data(blocks, parent) == (sessions, None)
    assert method("ader").training_data(blocks, parent) == (blocks[2], parent)


def test_a_context_shares_the_exemplars_among_the_steps(tiny: Recipe, block: Blocks) -> None:
    parent = train_cycle(block(0, 12), None, tiny, 0, lambda _: None).state
    rng, due = np.random.default_rng(0), np.zeros(len(parent.vocabulary), np.bool_)
    data = prepare_data(block(1, 15), parent, tiny, rng, due)
    batches = CycleContext(data, 1.0, tiny, rng).batches()
    steps = math.ceil(len(data.training) / tiny.batch_size)
    assert batches.batch_size == len(parent.exemplars) // steps > 1
    assert len(batches.draw()[0]) == batches.batch_size


def test_exemplars_of_any_method_come_from_block_and_past(tiny: Recipe, block: Blocks) -> None:
    small = replace(tiny, exemplars=20)
    for name in ("er-random", "er-loss", "ader-equal"):
        parent, state, _ = second_cycle(small, block, name)
        assert 0 < len(parent.exemplars) <= 20
        assert 0 < len(state.exemplars) <= 20
