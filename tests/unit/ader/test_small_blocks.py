"""Blocks of a few sessions do no harm, and many of them come to what one large one comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.evaluate import score_sessions
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.ader.report import CycleReport

RECIPE = replace(PRODUCTION, hidden=16, maxlen=6, batch_size=128, exemplars=500, max_epochs=4)

ITEMS = 150

Sessions = Sequence[tuple[str, ...]]


def visits(seed: int, count: int) -> list[tuple[str, ...]]:
    """Sessions that walk along a ring of items; every third one returns to where it began."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(ITEMS, size=count), rng.integers(2, 6, size=count)
    return [
        tuple(
            f"item-{(start + step) % ITEMS}"
            for step in [*range(length), *([0] if number % 3 == 0 else [])]
        )
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]


@pytest.fixture(scope="module")
def parent() -> State:
    """A version that has fitted its gains to a thousand sessions."""
    return trained(None, visits(0, 2000), blocks=2)[0]


def trained(
    parent: State | None, sessions: Sessions, blocks: int, recipe: Recipe = RECIPE
) -> tuple[State, CycleReport]:
    """Train on sessions, cut into so many blocks."""
    state, report, size = parent, None, len(sessions) // blocks
    for first in range(0, len(sessions), size):
        result = train_cycle(sessions[first : first + size], state, recipe, 0, lambda _: None)
        state, report = result.state, result.report
    assert state
    assert report
    return state, report


def recall20(state: State) -> float:
    return score_sessions(state.model(), state.vocabulary, visits(9, 400)).percentages()[
        "recall@20"
    ]


@pytest.mark.parametrize("sessions_a_block", [1, 10])
def test_blocks_of_a_few_sessions_leave_recall_as_it_was(
    parent: State, sessions_a_block: int
) -> None:
    state, _ = trained(parent, visits(1, 12 * sessions_a_block), blocks=12)
    assert recall20(state) > recall20(parent) - 1


def test_sessions_that_never_return_do_not_ban_repeat_clicks(parent: State) -> None:
    onward = [session for session in visits(1, 40) if len(set(session)) == len(session)][:12]
    state, _ = trained(parent, onward, blocks=12)
    assert torch.equal(state.weights["gains"], parent.weights["gains"])


def test_sessions_come_to_the_same_statistics_in_one_block_or_many(parent: State) -> None:
    sessions = visits(2, 120)
    (one, reported), (many, reported_last) = (
        trained(parent, sessions, blocks) for blocks in (1, 24)
    )
    for name in ("clicks", "together"):
        torch.testing.assert_close(
            many.weights[name].sum(), one.weights[name].sum(), rtol=1e-3, atol=0
        )
    for name in ("gains", "pull", "blend"):
        torch.testing.assert_close(many.weights[name], one.weights[name])
    torch.testing.assert_close(many.weights["clicks"], one.weights["clicks"], rtol=1e-3, atol=1e-3)
    assert set(reported_last.frequent_items[:20]) == set(reported.frequent_items[:20])
    assert len(many.exemplars) >= 0.98 * len(one.exemplars)
    assert recall20(many) == pytest.approx(recall20(one), abs=3)


@pytest.mark.parametrize("recipe", [PAPER, PRODUCTION])
def test_a_cold_start_list_outlives_a_block_of_one_session(recipe: Recipe) -> None:
    small = replace(recipe, hidden=16, maxlen=6, batch_size=32, exemplars=60, max_epochs=1)
    first = [("hat", "scarf")] * 9 + [("glove", "hat")] * 5
    state, _ = trained(None, first, 1, small)
    report = train_cycle([("sock", "glove")], state, small, 0, lambda _: None).report
    assert report.frequent_items[:3] == ["hat", "scarf", "glove"]
    assert "sock" in report.frequent_items


def test_a_block_that_fills_a_part_of_a_batch_takes_as_much_of_a_step(parent: State) -> None:
    def moved(batch_size: int) -> float:
        recipe = replace(RECIPE, batch_size=batch_size, adam_epsilon=1e-8, adam_epsilon_new=1e-8)
        state, _ = trained(parent, visits(3, 4), 1, recipe)
        change = state.weights["turn"] - parent.weights["turn"]
        return float(change.abs().mean())

    assert moved(4096) == pytest.approx(moved(1024) / 4, rel=0.05)
