from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.dataset import split_sessions
from ader_stream.ader.device import (
    CHOICES,
    CPU,
    chosen_device,
    describe_device,
    generator_state,
    multiplies_bfloat16,
    use_threads,
)
from ader_stream.ader.distributed import ProcessGroup
from ader_stream.ader.evaluate import details
from ader_stream.ader.methods import METHODS, method
from ader_stream.ader.models.ranking import rank_targets, ranks_of, top_k
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.ader.training.checkpoint import FILE, NOWHERE, Checkpoint, CheckpointFile
from ader_stream.errors import SettingsError
from ader_stream.settings.groups import TrainerSettings
from ader_stream.versions.gate.verdict import measure
from tests.fake_device import FAKE

Block = list[tuple[str, ...]]
Blocks = Callable[[int, int], Block]

SMALL = {"hidden": 16, "maxlen": 6, "batch_size": 32, "max_epochs": 2, "exemplars": 60}


class KilledError(Exception):
    """Stands for SIGKILL."""


def two_cycles(
    recipe: Recipe,
    block: Blocks,
    device: torch.device,
    name: str = "ader",
    checkpoint: Checkpoint = NOWHERE,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> State:
    """Train a block on the CPU, and the next one on a device."""
    how, blocks = method(name), [block(0, 12), block(1, 15)]
    sessions, before = how.training_data(blocks, parent_of(recipe, block, name))
    processes = ProcessGroup(device=device)
    return train_cycle(sessions, before, recipe, 0, on_progress, how, processes, checkpoint).state


@functools.cache
def parent_of(recipe: Recipe, block: Blocks, name: str) -> State:
    return train_cycle(block(0, 12), None, recipe, 0, lambda _: None, method(name)).state


def assert_same(one: State, other: State) -> None:
    for mine, theirs in ((one.weights, other.weights), (one.optimizer, other.optimizer)):
        assert mine.keys() == theirs.keys()
        for key, tensor in theirs.items():
            assert tensor.device == CPU
            assert torch.equal(mine[key], tensor), key
    assert np.array_equal(one.exemplars.items, other.exemplars.items)
    assert np.array_equal(one.exemplars.offsets, other.exemplars.offsets)


@pytest.fixture(params=["paper", "plain loss", "production", "members over all items"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return {
        "paper": replace(PAPER, **SMALL),
        "plain loss": replace(PAPER, **SMALL, fused=False, output_precision="float32"),
        "production": replace(PRODUCTION, **SMALL, negatives=8),
        "members over all items": replace(PRODUCTION, **SMALL, negatives=0, members=2),
    }[request.param]


@pytest.mark.parametrize("recipe", ["paper", "production"], indirect=True)
@pytest.mark.parametrize("name", METHODS)
def test_a_device_comes_to_what_the_cpu_comes_to(recipe: Recipe, block: Blocks, name: str) -> None:
    assert_same(two_cycles(recipe, block, CPU, name), two_cycles(recipe, block, FAKE, name))


def test_a_cycle_killed_on_a_device_continues_there(
    recipe: Recipe, block: Blocks, tmp_path: Path
) -> None:
    def kill(progress: Progress) -> None:
        if progress.epoch == 2:
            raise KilledError

    file = CheckpointFile(tmp_path, {"seed": 0})
    with pytest.raises(KilledError):
        two_cycles(recipe, block, FAKE, checkpoint=file, on_progress=kill)
    assert (tmp_path / FILE).exists()
    torch.manual_seed(99)  # another process
    resumed = two_cycles(recipe, block, FAKE, checkpoint=file)
    assert_same(two_cycles(recipe, block, CPU), resumed)


def test_rankings_lists_and_gate_are_the_same_on_a_device(recipe: Recipe, block: Blocks) -> None:
    state = two_cycles(recipe, block, CPU)
    here, there = state.model(), state.model(device=FAKE)
    prefixes = [[1, 2, 3], [4], [2, 2]]
    assert there.device == FAKE
    assert rank_targets(here, prefixes, [4, 5, 2]).tolist() == (
        rank_targets(there, prefixes, [4, 5, 2]).tolist()
    )
    for mine, theirs in zip(top_k(here, prefixes, 5), top_k(there, prefixes, 5), strict=True):
        assert np.array_equal(mine, theirs)
    blocks = [block(0, 12), block(1, 15)]
    assert details(state, blocks) == details(state, blocks, FAKE)
    samples = split_sessions((state.vocabulary.encode(s) for s in blocks[1]), recipe.maxlen)
    measured = [measure(samples, state, state, lambda: None, where) for where in (CPU, FAKE)]
    assert asdict(measured[0]) == asdict(measured[1])


def test_equal_scores_are_ranked_alike_on_a_device() -> None:
    scores, targets = torch.tensor([[0.5, 0.9, 0.5], [0.1, 0.1, 0.1]]), torch.tensor([3, 2])
    there = ranks_of(scores.to(FAKE), targets.to(FAKE)).cpu()
    assert there.tolist() == ranks_of(scores, targets).tolist() == [2, 1]


def test_the_fake_refuses_what_a_gpu_refuses() -> None:
    there = torch.ones(2, device=FAKE)
    with pytest.raises(RuntimeError, match="expected all tensors on fake:0"):
        there + torch.ones(2)
    with pytest.raises(TypeError, match="copy it to the CPU first"):
        there.numpy()
    assert (there + 1).cpu().tolist() == [2.0, 2.0]


def test_settings_offer_the_same_devices() -> None:
    assert get_args(TrainerSettings.model_fields["device"].annotation) == CHOICES


@pytest.mark.parametrize("choice", ["auto", "cpu"])
def test_without_a_gpu_the_cpu_is_chosen(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert chosen_device(choice) == CPU


@pytest.mark.parametrize(("gpus", "place", "choice"), [(0, 0, "cuda"), (1, 1, "auto")])
def test_a_process_without_a_gpu_of_its_own_is_an_error(
    gpus: int, place: int, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("LOCAL_RANK", str(place))
    with pytest.raises(
        SettingsError, match=rf"torch sees {gpus} GPUs, and this is process {place}"
    ):
        chosen_device(choice)


def test_each_process_of_a_host_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_, **__: None)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert chosen_device("auto") == torch.device("cuda", 1) == taken[0]


@pytest.mark.parametrize(("capability", "multiplies"), [((7, 5), False), ((8, 0), True)])
def test_a_gpu_multiplies_bfloat16_since_ampere(
    capability: tuple[int, int], multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert multiplies_bfloat16(torch.device("cuda", 0)) is multiplies


def test_devices_are_described_by_type_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert describe_device(torch.device("cuda", 0)) == "cuda Tesla T4"
    assert describe_device(CPU).startswith("cpu ")


def test_the_state_of_a_generator_is_its_devices() -> None:
    assert torch.equal(generator_state(FAKE), torch.get_rng_state())


@pytest.mark.parametrize(("asked", "usable", "used"), [(0, 2, 2), (0, 99, 3), (4, 2, 4)])
def test_threads_are_as_many_as_the_cores_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, asked: int, usable: int, used: int
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr("ader_stream.ader.device.usable_cores", lambda: usable)
    try:
        torch.set_num_threads(3)
        use_threads(asked)
        assert torch.get_num_threads() == used
    finally:
        torch.set_num_threads(before)
