"""A first version ranks by what another model has found on sessions that it did not learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ader_stream.ader import calibration
from ader_stream.ader.artifact.state import State
from ader_stream.ader.calibration import calibrate_first
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.evaluate import score_sessions
from ader_stream.ader.models.base import Architecture, SessionModel
from ader_stream.ader.models.core import Core
from ader_stream.ader.models.repeat_clicks import FIRST_GAINS
from ader_stream.ader.recipes import PRODUCTION

RECIPE = replace(PRODUCTION, hidden=16, maxlen=6, batch_size=128, exemplars=0, max_epochs=3)

ITEMS = 60

Sessions = list[tuple[str, ...]]


def visits(seed: int, count: int, *, last_again: bool) -> Sessions:
    """Sessions along a ring of items, each of which clicks its last item twice, or never."""
    starts = np.random.default_rng(seed).integers(ITEMS, size=count)
    walks = [[(start + step) % ITEMS for step in range(3)] for start in starts]
    return [tuple(f"item-{n}" for n in [*walk, *walk[-1:] * last_again]) for walk in walks]


def first_version(sessions: Sessions) -> State:
    return train_cycle(sessions, None, RECIPE, 0, lambda _: None).state


def untrained_core() -> Core:
    core = Core(Architecture(16, 0, 6, encoder="core", temperature=0.1), 0)
    core.initialise(torch.Generator().manual_seed(0))
    return core


def calibrated(core: Core, block: EncodedBlock) -> list[EncodedBlock]:
    """Calibrate it, and return what the other model was trained on."""
    learnt: list[EncodedBlock] = []

    def train(model: SessionModel, part: EncodedBlock) -> None:
        model.grow(part.highest_item, torch.Generator().manual_seed(0), item_bound=0.5)
        learnt.append(part)

    calibrate_first(core, block, train, np.random.default_rng(0))
    return learnt


def test_a_first_version_ranks_the_last_click_as_its_own_block_tells() -> None:
    often, never = (first_version(visits(0, 1500, last_again=again)) for again in (True, False))
    assert often.weights["gains"][1] > never.weights["gains"][1]
    scores = score_sessions(often.model(), often.vocabulary, visits(1, 200, last_again=True))
    assert scores.percentages()["mrr@20"] > 40


def test_what_is_trained_is_the_same_whether_or_not_it_was_calibrated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = visits(0, 300, last_again=True)
    calibrated = first_version(sessions)
    monkeypatch.setattr(Core, "fitted", ())
    plain = first_version(sessions)
    trained = set(plain.weights) - {"gains", "pull", "blend"}
    trained = {name for name in trained if not name.endswith("evidence")}
    assert all(torch.equal(calibrated.weights[name], plain.weights[name]) for name in trained)
    assert calibrated.weights["gain_evidence"].any() and not plain.weights["gain_evidence"].any()


def test_what_calibrates_was_not_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that are learnt all return, those that follow never do, and the gains show it."""
    monkeypatch.setattr(calibration, "LEARNT", 1000)
    before, after = [[3], *[[1, 2, 1]] * 500], [[1, 2, 3]] * 120
    core = untrained_core()
    [learnt] = calibrated(core, EncodedBlock.of([*before, *after, *before], 6))
    assert learnt.items.tolist() == [item for session in before for item in session]
    assert core.gains[2] < FIRST_GAINS[1], "the click before the last"


def test_held_out_sessions_calibrate_nothing() -> None:
    sessions = [[1, 2, 3], [1, 2, 3, 2]] * 300
    held_out = np.array([False, True] * 300)
    with_poison, without = untrained_core(), untrained_core()
    calibrated(with_poison, EncodedBlock.of(sessions, 6, held_out))
    calibrated(without, EncodedBlock.of(sessions[::2], 6))
    for name in Core.fitted:
        assert torch.equal(getattr(with_poison, name), getattr(without, name)), name


@pytest.mark.parametrize("sessions", [[], [[1]], [[1, 2]], [[1, 2, 3], [2]]])
def test_a_block_without_a_target_to_spare_keeps_what_is_guessed(sessions: list[list[int]]) -> None:
    core, guessed = untrained_core(), untrained_core()
    assert calibrated(core, EncodedBlock.of(sessions, 6)) == []
    assert torch.equal(core.gains, guessed.gains)


def test_items_that_only_held_out_clicks_show_are_no_input() -> None:
    """A single click that is held out stands in the inputs of those after it."""
    block = EncodedBlock.of([[1, 3, 2]] * 40, 6)
    core = untrained_core()
    [learnt] = calibrated(core, block.without(np.arange(1, 120, 3)))
    assert learnt.items.max() == 2
