from __future__ import annotations

import math

import pytest
import torch

from ader_stream.ader.artifact.state import (
    copied_moments,
    copied_weights,
    not_finite,
    resumed_adam,
    untrained,
)
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.ader.recipes import Recipe


def step(model: SASRec, adam: torch.optim.Adam) -> None:
    adam.zero_grad()
    representation = model(torch.tensor([[1, 2, 3]]))
    (representation @ model.item_table().T)[0, 0].backward()
    adam.step()


def trained(model: SASRec, tiny: Recipe) -> torch.optim.Adam:
    adam = resumed_adam(model, {}, tiny.learning_rate)
    for _ in range(3):
        step(model, adam)
    return adam


def test_untrained_knows_nothing(tiny: Recipe) -> None:
    state = untrained(tiny.architecture)
    assert (len(state.vocabulary), len(state.exemplars), state.steps) == (0, 0, 0)


def test_old_moments_continue_and_new_rows_start_from_zero(model: SASRec, tiny: Recipe) -> None:
    before = copied_moments(model, trained(model, tiny))
    model.grow(12, torch.Generator().manual_seed(0), item_bound=0.1)
    after = copied_moments(model, resumed_adam(model, before, tiny.learning_rate))
    assert after.keys() == before.keys()
    assert after["items.weight.step"] == 3
    for moment in ("exp_avg", "exp_avg_sq"):
        grown = after[f"items.weight.{moment}"]
        assert torch.equal(grown[:9], before[f"items.weight.{moment}"])
        assert grown[9:].shape == (3, 16)
        assert not grown[9:].any()


def test_resuming_does_not_touch_what_it_resumes_from(model: SASRec, tiny: Recipe) -> None:
    moments = copied_moments(model, trained(model, tiny))
    kept = {name: tensor.clone() for name, tensor in moments.items()}
    step(model, resumed_adam(model, moments, tiny.learning_rate))
    assert all(torch.equal(moments[name], kept[name]) for name in kept)


def test_resumed_adam_takes_the_same_step_as_one_that_never_stopped(
    model: SASRec, tiny: Recipe
) -> None:
    adam = trained(model, tiny)
    weights, moments = copied_weights(model), copied_moments(model, adam)
    step(model, adam)
    expected = copied_weights(model)
    model.load_state_dict(weights)
    step(model, resumed_adam(model, moments, tiny.learning_rate))
    assert all(
        torch.equal(expected[name], tensor) for name, tensor in copied_weights(model).items()
    )


def test_larger_epsilon_keeps_what_has_hardly_any_gradient(model: SASRec, tiny: Recipe) -> None:
    def moved(epsilon: float) -> float:
        before = model.norm.bias.detach().clone()
        adam = resumed_adam(model, {}, 0.1, epsilon)
        adam.zero_grad()
        model.norm.bias.grad = torch.full_like(before, 1e-6)
        adam.step()
        return float((model.norm.bias - before).detach().abs().max())

    assert moved(1e-8) > 0.09  # a whole step, however small the gradient
    assert moved(3e-4) < 0.001


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_tensors_that_are_not_finite_are_named(value: float) -> None:
    broken = torch.zeros(3, 4)
    broken[1, 2] = value
    sound = {"sound": torch.ones(3), "whole": torch.tensor([1]), "empty": torch.zeros(0)}
    assert not_finite({**sound, "broken": broken}) == ["broken"]
