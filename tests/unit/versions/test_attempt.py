from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import numpy as np
import pytest
import torch
from torch import distributed

from ader_stream.ader import cycle as cycle_module
from ader_stream.ader.artifact.state import State
from ader_stream.ader.models.core import Core
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.errors import FencedError, SettingsError, SpaceError
from ader_stream.versions import attempt as attempt_module
from ader_stream.versions.attempt import Attempt, Watch, attempt_cycle
from ader_stream.versions.gate.verdict import GateRule
from tests.unit.versions.conftest import ASKS_NOTHING, SEED, walks

Block = list[tuple[str, ...]]

SMALL = {"hidden": 8, "maxlen": 5, "max_epochs": 2, "batch_size": 64, "exemplars": 40}
RECIPES = {
    "paper": replace(PAPER, **SMALL),
    "production": replace(PRODUCTION, **SMALL),
    "production, held out": replace(PRODUCTION, **SMALL, validation_share=0.3),
}
BLOCKS: dict[str, Block] = {
    "no session": [],
    "no click": [()] * 3,
    "one click": [("a",)],
    "no target": [("a",), ("b",)] * 20,
    "one session": [("a", "b")],
    "one item": [("a", "a", "a")] * 9,
    "one item, and it is new": [("new", "new")] * 150,
    "all new": [("x", "y", "z")] * 200,
    "an item without a name": [("", "a", ""), ("a", "")] * 9,
    "half of a pair": [("a", "\ud800", "b")] * 9,
    "an enormous session": [tuple(str(n % 97) for n in range(2_000))],
    "an enormous item": [("a", "b" * 100_000, "c")] * 3,
    "very many items": [tuple(str(n) for n in range(start, start + 9)) for start in range(200)],
}
SOUND = walks(0, 20) * 6


def nothing(*_: object) -> None:
    pass


def attempt(
    block: Block, parent: State | None, recipe: Recipe, rule: GateRule = ASKS_NOTHING
) -> Attempt:
    return attempt_cycle(block, parent, recipe, SEED, rule, Watch(nothing, nothing))


def failing(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


@pytest.fixture(scope="module", params=list(RECIPES))
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return RECIPES[request.param]


@pytest.fixture(scope="module")
def parent(recipe: Recipe) -> State:
    state = attempt(SOUND, None, recipe).state
    assert state is not None
    return state


@pytest.mark.parametrize("name", list(BLOCKS))
def test_no_block_stops_the_trainer(name: str, recipe: Recipe, parent: State) -> None:
    """It becomes a version that may serve, or one with a reason; then the next block comes."""
    first = attempt(BLOCKS[name], None, recipe)
    made = attempt(BLOCKS[name], parent, recipe)
    assert (first.rejection is None) == (made.rejection is None)
    following = attempt(SOUND, parent if made.rejection else made.state, recipe)
    assert following.state is not None
    assert following.rejection is None


def test_what_cannot_be_learnt_is_rejected_with_its_reason(recipe: Recipe, parent: State) -> None:
    no_target = attempt(BLOCKS["no target"], parent, recipe)
    assert "hold no sub-sequence" in str(no_target.rejection)
    half_a_pair = attempt(BLOCKS["half of a pair"], parent, recipe)
    assert "UnicodeEncodeError in the update cycle" in str(half_a_pair.rejection)
    assert str(half_a_pair.rejection).encode()


@pytest.mark.parametrize("rate", [1e4, 1e9, 1e15, 1e20, 1e25, 1e30, 1e38])
def test_a_learning_rate_that_diverges_is_rejected(rate: float, recipe: Recipe) -> None:
    """After a single step, whose loss was still finite."""
    wild = replace(recipe, learning_rate=rate, last_learning_rate=1.0, batch_size=10**6)
    made = attempt(SOUND, None, replace(wild, max_epochs=1, patience=1))
    if made.state is None:
        assert "finite" in str(made.rejection)
    else:
        assert all(weight.isfinite().all() for weight in made.state.weights.values())


@pytest.mark.parametrize("where", ["train_cycle", "measure"])
@pytest.mark.parametrize(
    "error",
    [
        np.linalg.LinAlgError("Singular matrix"),
        torch.linalg.LinAlgError("the matrix is singular"),
        ZeroDivisionError("division by zero"),
        FloatingPointError("overflow"),
        IndexError("index 0 is out of bounds"),
        KeyError("item-7"),
        ValueError("probabilities are not non-negative"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_goes_wrong_on_the_data_is_the_blocks_fault(
    error: Exception, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, where, failing(error))
    made = attempt(SOUND, None, RECIPES["production"])
    assert made.state is None
    assert str(made.rejection).startswith(f"{type(error).__name__} in the update cycle: ")


@pytest.mark.parametrize("where", ["train_cycle", "measure"])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(28, "No space left on device"),
        ConnectionResetError(),
        SpaceError("no room"),
        SettingsError("the parent is another"),
        torch.OutOfMemoryError("CUDA out of memory"),
        distributed.DistError("NCCL error"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_what_is_wrong_with_the_machine_is_raised(
    error: BaseException, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, where, failing(error))
    with pytest.raises(type(error)) as raised:
        attempt(SOUND, None, RECIPES["production"])
    assert raised.value is error


@pytest.mark.parametrize("error", [FencedError("another leads"), ValueError("the caller's own")])
@pytest.mark.parametrize("which", ["on_progress", "between"])
def test_what_the_caller_raises_meanwhile_is_its_own(error: Exception, which: str) -> None:
    watch = replace(Watch(nothing, nothing), **{which: failing(error)})
    with pytest.raises(type(error)) as raised:
        attempt_cycle(SOUND, None, RECIPES["production"], SEED, ASKS_NOTHING, watch)
    assert raised.value is error


def test_no_memory_for_a_tensor_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch itself says it."""
    monkeypatch.setattr(Core, "update_statistics", lambda *_: torch.empty(2**60))
    with pytest.raises(RuntimeError, match="allocate memory"):
        attempt(SOUND, None, RECIPES["production"])


def test_what_the_gate_refuses_keeps_its_state_and_report() -> None:
    made = attempt(SOUND, None, RECIPES["production"], replace(ASKS_NOTHING, max_bytes=10))
    assert made.state is not None
    assert made.report.epochs == 2
    assert made.measured is not None
    assert "models.max_bytes allows 10" in str(made.rejection)


def test_representations_that_are_not_finite_are_the_blocks_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    select = cycle_module.select_exemplars

    def spoilt(model: Core, *others: object) -> object:
        model.age.data.fill_(torch.inf)
        return select(model, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(cycle_module, "select_exemplars", spoilt)
    made = attempt(SOUND, None, RECIPES["production"])
    assert "representations that are not finite" in str(made.rejection)
