from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ader_stream.ader.artifact.state import copied_weights
from ader_stream.ader.data.dataset import pack, split_sessions
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.ader.training.ewc import (
    FISHER_SAMPLES,
    ElasticPenalty,
    draw_fisher_samples,
    fisher_information,
)

# In the last session the input items are clicked twice, and one is the target as well.
SAMPLES = split_sessions([[1, 2, 3], [4, 5], [7, 1, 7, 1]], maxlen=6)


def log_likelihood(model: SASRec, row: int) -> Tensor:
    batch = pack(SAMPLES, np.array([row]))
    scores = model(batch.inputs) @ model.item_table().T
    return -functional.cross_entropy(scores, batch.targets - 1)


def slope(model: SASRec, row: int, name: str, at: int, step: float = 1e-6) -> float:
    """∂ log p / ∂θ by a central difference."""
    values = dict(model.named_parameters())[name].detach().view(-1)
    before = values[at].item()
    values[at] = before + step
    up = log_likelihood(model, row).item()
    values[at] = before - step
    down = log_likelihood(model, row).item()
    values[at] = before
    return (up - down) / (2 * step)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("items.weight", 0),  # an input, once a target as well
        ("items.weight", 16 * 6 + 5),  # an input twice
        ("items.weight", 16 * 4 + 3),  # a target
        ("items.weight", 16 * 8 + 1),  # neither
        ("positions", 16 * 5 + 2),
        ("blocks.0.attention.value.weight", 7),
        ("norm.bias", 2),
    ],
)
def test_fisher_is_the_mean_square_of_each_samples_own_slope(
    model: SASRec, name: str, at: int
) -> None:
    model = model.double()
    fisher = fisher_information(model, SAMPLES)[name].view(-1)[at].item()
    slopes = [slope(model, row, name, at) for row in range(len(SAMPLES))]
    assert fisher == pytest.approx(np.mean(np.square(slopes)), rel=1e-4)


def test_fisher_by_hand(model: SASRec) -> None:
    # For the score's own layer: (p − 1[label])² · h², since item 9 is no input here.
    batch = pack(SAMPLES, np.array([2]))
    with torch.no_grad():
        session = model(batch.inputs)[0]
        share = (session @ model.item_table().T).softmax(0)[8]
    fisher = fisher_information(model, SAMPLES.take(np.array([2])))["items.weight"][8]
    torch.testing.assert_close(fisher, (share * session).square())


def test_squares_are_averaged_and_not_the_gradients(model: SASRec) -> None:
    one, other = (fisher_information(model, SAMPLES.take(np.array([row]))) for row in (0, 2))
    both = fisher_information(model, SAMPLES.take(np.array([0, 2])))
    for name, fisher in both.items():
        torch.testing.assert_close(fisher, (one[name] + other[name]) / 2)


def test_fisher_leaves_no_gradient_behind(model: SASRec) -> None:
    fisher_information(model, SAMPLES)
    assert all(weight.grad is None for weight in model.parameters())


def test_penalty_by_hand(model: SASRec) -> None:
    before = copied_weights(model)
    importance = {name: torch.full_like(weight, 2.0) for name, weight in before.items()}
    penalty = ElasticPenalty(0.8, before, importance)
    assert penalty(model).item() == 0.0
    with torch.no_grad():
        model.norm.bias[3] += 0.5
        model.items.weight[0, 0] -= 0.1
    expected = 0.8 / 2 * 2.0 * (0.5**2 + 0.1**2)
    assert penalty(model).item() == pytest.approx(expected)


def test_penalty_pulls_back_by_importance_and_leaves_new_items_free(model: SASRec) -> None:
    before = copied_weights(model)
    importance = {name: torch.full_like(weight, 3.0) for name, weight in before.items()}
    model.grow(11, torch.Generator().manual_seed(0), item_bound=0.5)
    with torch.no_grad():
        model.items.weight[:9] += 0.1
    ElasticPenalty(0.8, before, importance)(model).backward()
    gradient = model.items.weight.grad
    assert gradient is not None
    torch.testing.assert_close(gradient[:9], torch.full((9, 16), 0.8 * 3.0 * 0.1))
    assert not gradient[9:].any()


def test_no_more_samples_are_drawn_than_there_are() -> None:
    assert sorted(draw_fisher_samples(SAMPLES, np.random.default_rng(0)).targets) == sorted(
        SAMPLES.targets
    )
    many = split_sessions([range(1, FISHER_SAMPLES + 50)], maxlen=6)
    targets = draw_fisher_samples(many, np.random.default_rng(0)).targets
    assert len(set(targets)) == len(targets) == FISHER_SAMPLES
