from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from ader_stream.ader.artifact.state import untrained
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.ader.recipes import PAPER, Recipe

Block = list[tuple[str, ...]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Matrices this small are only slowed down by threads that wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """The paper's recipe, small enough to train in a second."""
    return replace(
        PAPER, hidden=16, maxlen=6, batch_size=32, max_epochs=3, exemplars=60, learning_rate=5e-3
    )


@pytest.fixture(scope="session")
def block() -> Callable[[int, int], Block]:
    """Sessions that walk along a ring of items, so that there is something to learn."""

    def sessions(seed: int, items: int, count: int = 60) -> Block:
        rng = np.random.default_rng(seed)
        starts, lengths = rng.integers(items, size=count), rng.integers(1, 9, size=count)
        return [
            tuple(f"item-{(start + step) % items}" for step in range(length))
            for start, length in zip(starts, lengths, strict=True)
        ]

    return sessions


@pytest.fixture
def model(tiny: Recipe) -> SASRec:
    """An untrained model of nine items in eval mode, its weights drawn."""
    generator = torch.Generator().manual_seed(7)
    model = untrained(tiny.architecture).model()
    model.initialise(generator)
    model.grow(9, generator, item_bound=0.5)
    return model
