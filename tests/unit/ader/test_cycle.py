from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import torch

from ader_stream.ader.artifact.parts import decode_state, encode_parts
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.evaluate import score_sessions
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.artifact import content_digest
from ader_stream.errors import TrainingError

Block = list[tuple[str, ...]]
Blocks = Callable[[int, int], Block]


def unwatched(_: Progress) -> None:
    """Nobody looks at the progress."""


def digest(state: object) -> str:
    return content_digest(encode_parts(state))  # type: ignore[arg-type]


def test_cycle_learns_what_follows_what(tiny: Recipe, block: Blocks) -> None:
    recipe = replace(tiny, learning_rate=0.01, item_bound=0.2, dropout=0.0, validation_share=0.0)
    state = train_cycle(block(0, 40), None, replace(recipe, max_epochs=20), 0, unwatched).state
    counts = score_sessions(state.model(), state.vocabulary, block(1, 40))
    assert counts.percentages()["mrr@20"] > 80


def test_same_inputs_give_the_same_digest(tiny: Recipe, block: Blocks) -> None:
    one, other = (train_cycle(block(0, 12), None, tiny, 3, unwatched).state for _ in range(2))
    assert digest(one) == digest(other)


def test_another_seed_gives_another_digest(tiny: Recipe, block: Blocks) -> None:
    one, other = (train_cycle(block(0, 12), None, tiny, seed, unwatched).state for seed in (0, 1))
    assert digest(one) != digest(other)


def test_decoded_state_gives_the_same_next_cycle(tiny: Recipe, block: Blocks) -> None:
    first = train_cycle(block(0, 12), None, tiny, 0, unwatched).state
    again = decode_state(encode_parts(first))
    one, other = (train_cycle(block(1, 15), s, tiny, 0, unwatched).state for s in (first, again))
    assert digest(one) == digest(other)


def test_cycle_does_not_change_its_parent(tiny: Recipe, block: Blocks) -> None:
    parent = train_cycle(block(0, 12), None, tiny, 0, unwatched).state
    before = digest(parent)
    train_cycle(block(1, 15), parent, tiny, 0, unwatched)
    assert digest(parent) == before


def test_second_cycle_weighs_the_exemplars_as_the_paper_says(tiny: Recipe, block: Blocks) -> None:
    result = train_cycle(block(0, 12), None, tiny, 0, unwatched)
    parent, first = result.state, result.report
    second = train_cycle(block(1, 15), parent, tiny, 0, unwatched).report
    assert first.adaptive_weight == 0
    assert 0 < first.exemplars == len(parent.exemplars) <= tiny.exemplars
    ratio = 12 / 15 * first.exemplars / second.train_samples
    assert second.adaptive_weight == pytest.approx(0.8 * math.sqrt(ratio))


def test_report_counts_what_came(tiny: Recipe, block: Blocks) -> None:
    sessions = [("lonely",), *block(0, 12)]
    result = train_cycle(sessions, None, tiny, 0, unwatched)
    state, report = result.state, result.report
    clicks = sum(map(len, sessions))
    assert (report.sessions, report.clicks) == (61, clicks)
    assert (report.items, report.new_items) == (13, 13)
    assert report.train_samples == round(0.9 * (clicks - 61))
    assert report.epochs == len(report.losses) == len(report.validation) == 3
    assert report.best_epoch == 1 + report.validation.index(max(report.validation))
    assert state.vocabulary.item(1) == "lonely"
    assert json.loads(json.dumps(asdict(report))) == asdict(report)


def test_best_epoch_is_what_continues(tiny: Recipe, block: Blocks) -> None:
    # A rate this high only gets worse after the first steps; training stops for want of better.
    recipe = replace(tiny, learning_rate=0.5, max_epochs=50, patience=2, exemplars=0)
    result = train_cycle(block(0, 40), None, recipe, 0, unwatched)
    state, report = result.state, result.report
    assert report.epochs == report.best_epoch + 2 < 50
    steps = math.ceil(report.train_samples / recipe.batch_size)
    assert state.steps == report.best_epoch * steps


def test_progress_comes_after_every_batch(tiny: Recipe, block: Blocks) -> None:
    seen: list[Progress] = []
    report = train_cycle(block(0, 12), None, tiny, 0, seen.append).report
    steps = math.ceil(report.train_samples / tiny.batch_size)
    trained = [p for p in seen if p.stage == "train" and not p.ends_epoch]
    places = [(p.epoch, p.step) for p in trained]
    assert places == [(e, s) for e in (1, 2, 3) for s in range(1, steps + 1)]
    assert all(p.steps == steps and math.isfinite(p.loss) for p in trained)
    assert trained[0].validation_recall20 is None
    assert seen[-1].validation_recall20 == report.validation[-1]


def test_progress_that_raises_ends_the_cycle(tiny: Recipe, block: Blocks) -> None:
    seen: list[Progress] = []

    def stop_at_the_second(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_cycle(block(0, 12), None, tiny, 0, stop_at_the_second)
    assert len(seen) == 2


def test_fewer_exemplars_than_batches_join_one_at_a_time(tiny: Recipe, block: Blocks) -> None:
    result = train_cycle(block(0, 12), None, replace(tiny, exemplars=3), 0, unwatched)
    parent, first = result.state, result.report
    recipe = replace(tiny, batch_size=2, max_epochs=1)
    second = train_cycle(block(1, 12), parent, recipe, 0, unwatched).report
    assert first.exemplars < second.train_samples / 2
    assert math.isfinite(second.losses[0])


def test_vocabulary_need_not_grow(tiny: Recipe, block: Blocks) -> None:
    parent = train_cycle(block(0, 12), None, tiny, 0, unwatched).state
    result = train_cycle(block(1, 12), parent, tiny, 0, unwatched)
    state, report = result.state, result.report
    assert report.new_items == 0
    assert state.vocabulary == parent.vocabulary


def test_without_exemplars_nothing_is_replayed(tiny: Recipe, block: Blocks) -> None:
    recipe = replace(tiny, exemplars=0)
    parent = train_cycle(block(0, 12), None, recipe, 0, unwatched).state
    result = train_cycle(block(1, 12), parent, recipe, 0, unwatched)
    state, report = result.state, result.report
    assert (len(state.exemplars), report.adaptive_weight, report.exemplars) == (0, 0, 0)


def test_block_too_small_to_hold_out_trains_patience_epochs(tiny: Recipe) -> None:
    result = train_cycle([("a", "b", "c")], None, tiny, 0, unwatched)
    state, report = result.state, result.report
    assert (report.train_samples, report.validation) == (2, [])
    assert report.epochs == report.best_epoch == tiny.patience == state.steps


@pytest.mark.parametrize("sessions", [[], [("a",), ("b",)]])
def test_block_without_sub_sequence_is_refused(tiny: Recipe, sessions: Block) -> None:
    with pytest.raises(TrainingError, match=r"hold no sub-sequence.*join more blocks"):
        train_cycle(sessions, None, tiny, 0, unwatched)


def test_items_below_min_item_count_stay_unknown(tiny: Recipe) -> None:
    sessions = [("a", "b", "once"), ("b", "a")]
    state = train_cycle(sessions, None, replace(tiny, min_item_count=2), 0, unwatched).state
    assert list(state.vocabulary.items) == ["a", "b"]


def test_loss_that_is_not_finite_ends_the_cycle(tiny: Recipe, block: Blocks) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train_cycle(block(0, 12), None, replace(tiny, learning_rate=1e38), 0, unwatched)


def test_float32_and_bfloat16_training_agree(tiny: Recipe, block: Blocks) -> None:
    def losses(precision: str) -> list[float]:
        recipe = replace(tiny, output_precision=precision)
        return train_cycle(block(0, 12), None, recipe, 0, unwatched).report.losses

    assert losses("bfloat16") == pytest.approx(losses("float32"), rel=0.02)


def test_fused_and_plain_training_agree(tiny: Recipe, block: Blocks) -> None:
    def losses(fused: bool) -> list[float]:
        recipe = replace(tiny, output_precision="float32", fused=fused)
        parent = train_cycle(block(0, 12), None, recipe, 0, unwatched).state
        return train_cycle(block(1, 12), parent, recipe, 0, unwatched).report.losses

    assert losses(fused=True) == pytest.approx(losses(fused=False), rel=1e-3)


def test_production_recipe_learns_what_goes_together(block: Blocks) -> None:
    recipe = replace(
        PRODUCTION, hidden=16, batch_size=32, max_epochs=20, learning_rate=0.05, exemplars=60
    )
    parent = train_cycle(block(0, 40), None, recipe, 0, unwatched).state
    result = train_cycle(block(1, 40), parent, recipe, 0, unwatched)
    state, report = result.state, result.report
    assert report.epochs == report.best_epoch == 20
    assert report.validation == []
    counts = score_sessions(state.model(), state.vocabulary, block(2, 40))
    assert counts.percentages()["recall@10"] > 90


def test_new_rows_do_not_start_where_the_first_ones_did(tiny: Recipe, block: Blocks) -> None:
    frozen = replace(tiny, learning_rate=1e-30, max_epochs=1)
    parent = train_cycle(block(0, 12), None, frozen, 0, unwatched).state
    child = train_cycle(block(1, 24), parent, frozen, 0, unwatched).state
    table = child.weights["items.weight"]
    assert torch.equal(table[:12], parent.weights["items.weight"])
    assert not torch.equal(table[12:24], table[:12])
