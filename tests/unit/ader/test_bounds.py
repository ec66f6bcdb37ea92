"""What a cycle holds at once and does at a stretch: bounded by catalogue and batch alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ader_stream.ader import calibration
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.models import ranking
from ader_stream.ader.progress import STAGES, Progress
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.versions.gate.verdict import measure, validation_samples

Block = list[tuple[str, ...]]

SMALL = {"hidden": 8, "maxlen": 5, "max_epochs": 1, "batch_size": 16, "exemplars": 2_000}
RECIPES = {
    "paper": replace(PAPER, **SMALL),
    "production": replace(PRODUCTION, **SMALL, negatives=100),
}


def walks(seed: int, count: int, items: int = 300) -> Block:
    rng = np.random.default_rng(seed)
    return [tuple(map(str, rng.integers(items, size=5).tolist())) for _ in range(count)]


def silent(_: object = None) -> None:
    pass


@pytest.fixture(scope="module", params=list(RECIPES))
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return RECIPES[request.param]


@pytest.fixture(scope="module")
def parent(recipe: Recipe) -> State:
    state = train_cycle(walks(0, 800), None, recipe, 0, silent).state
    assert len(state.exemplars) > 1_000
    return state


class _Largest(TorchDispatchMode):
    """Takes note of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def largest_tensor(block: Block, parent: State, recipe: Recipe) -> int:
    with _Largest() as seen:
        train_cycle(block, parent, recipe, 0, silent)
    return seen.numbers


def test_a_block_of_few_steps_needs_no_more_memory_than_one_of_many(
    recipe: Recipe, parent: State
) -> None:
    """All exemplars join its steps, however few those are."""
    few, many = (largest_tensor(walks(1, n), parent, recipe) for n in (2, 400))
    assert few <= 1.1 * many


def test_every_stage_is_reported_in_its_order(recipe: Recipe, parent: State) -> None:
    seen: list[Progress] = []
    watched = replace(recipe, validation_share=0.2)
    train_cycle(walks(1, 50), parent, watched, 0, seen.append)
    first = {progress.stage: place for place, progress in reversed(list(enumerate(seen)))}
    reported = [stage for stage in STAGES if stage in first]
    assert reported == sorted(reported, key=first.__getitem__)
    assert set(STAGES) - set(reported) <= {"encode"}, "there are too few sessions for that"


@pytest.fixture
def in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a catalogue of millions is: a few samples at a time."""
    monkeypatch.setattr(calibration, "SCORES_AT_ONCE", 300 * 8)
    monkeypatch.setattr(ranking, "CHUNK_SCORES", 300 * 8)


@pytest.mark.usefixtures("in_small_chunks")
def test_no_stage_is_silent_for_long(recipe: Recipe, parent: State) -> None:
    reported: Counter[str] = Counter()
    watched = replace(recipe, validation_share=0.2)
    block = walks(1, 200)
    report = train_cycle(block, parent, watched, 0, lambda p: reported.update([p.stage])).report
    assert reported["validate"] >= report.validation_samples / 8
    assert reported["herd"] > 10
    if recipe.encoder == "core":
        assert reported["calibrate"] >= 5 * report.train_samples / 8


@pytest.mark.usefixtures("in_small_chunks")
def test_the_gate_is_not_silent_either(recipe: Recipe, parent: State) -> None:
    block, reported = walks(1, 200), [0]

    def tell() -> None:
        reported[0] += 1

    result = train_cycle(block, parent, recipe, 0, silent)
    samples = validation_samples(result.held_out, block, result.state, tell)
    measured = measure(samples, parent, result.state, tell)
    ranked_twice = sum(comparison.samples for comparison in measured.comparisons)
    assert ranked_twice > 1_000
    assert reported[0] >= 2 * ranked_twice / 8


def test_encoding_reports_progress_now_and_then(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    monkeypatch.setattr("ader_stream.ader.progress.ITEMS_BETWEEN", 10)
    reported: Counter[str] = Counter()
    train_cycle(walks(1, 200), None, recipe, 0, lambda p: reported.update([p.stage]))
    assert reported["encode"] >= 2 * 200 / 10


@pytest.mark.parametrize("items", [1, 40_000, 200_000, 1_000_000, 10**10])
def test_calibration_takes_no_longer_for_more_items(items: int) -> None:
    samples = EncodedBlock.of([range(1, 40)] * 300, 20).training_samples()
    rng = np.random.default_rng(0)
    drawn = list(calibration.draw_batches(samples, items, rng, torch.device("cpu")))
    sizes = [len(batch.targets) for batch in drawn]
    assert sum(sizes) == max(1, min(5_000, 10**9 // items))
    assert max(sizes) <= max(1, min(256, 2**24 // items))
