from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.learner import NO_NEW_ITEMS, NewItems

Blocks = Callable[[int, int], list[tuple[str, ...]]]


def unwatched(_: Progress) -> None:
    """Nobody looks at the progress."""


def stepped(
    gradients: torch.Tensor, epsilon: float, new_items: NewItems = NO_NEW_ITEMS
) -> torch.Tensor:
    """What Adam makes of a table of zeros by these gradients (steps, I, D)."""
    table = torch.nn.Parameter(torch.zeros(gradients.shape[1:]))
    adam = torch.optim.Adam([table], lr=0.1, eps=epsilon)
    for gradient in gradients:
        table.grad = gradient.clone()
        new_items.scale(table)
        adam.step()
    return table.detach()


def test_newcomers_are_moved_as_with_an_epsilon_of_their_own() -> None:
    gradients = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    table = stepped(gradients, 1e-2, NewItems(first=3, gradient_scale=10.0))
    torch.testing.assert_close(table[:3], stepped(gradients, 1e-2)[:3])
    torch.testing.assert_close(table[3:], stepped(gradients, 1e-3)[3:])


def test_a_cycle_moves_new_items_and_leaves_old_ones(tiny: Recipe, block: Blocks) -> None:
    recipe = replace(tiny, validation_share=0.0, carry_moments=False, adam_epsilon=100.0)
    parent = train_cycle(block(0, 12), None, recipe, 0, unwatched).state
    one, three = (
        train_cycle(block(1, 15), parent, replace(recipe, max_epochs=n), 0, unwatched).state
        for n in (1, 3)
    )
    moved = (three.weights["items.weight"] - one.weights["items.weight"]).abs().mean(1)
    assert moved[12:].min() > 10 * moved[:12].max()


def test_the_items_of_a_first_version_are_no_newcomers(tiny: Recipe, block: Blocks) -> None:
    recipe = replace(tiny, carry_moments=False)
    one, other = (
        train_cycle(block(0, 12), None, replace(recipe, adam_epsilon_new=e), 0, unwatched).state
        for e in (1e-8, 1e-3)
    )
    assert torch.equal(one.weights["items.weight"], other.weights["items.weight"])
