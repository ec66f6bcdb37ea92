"""What a version ranks by, found out by clicks that its model has not learnt.

A version with a parent finds it on its block, before that is trained on. A first one has nothing to
rank with before it is trained, and nothing that it has not learnt afterwards: so another model is
trained on the first sessions of its block and ranks those that follow, and no more of it is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Batch, Samples, by_length, pack
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import nothing

CALIBRATED, CALIBRATED_SCORES = 5_000, 10**9
"""Samples that a model is calibrated with, drawn at random, and how often one of them may be scored
with an item: fewer samples in catalogues of more than 200,000 items, and no longer time."""

CALIBRATED_AT_ONCE, SCORES_AT_ONCE = 256, 2**24
"""Samples, and their scores with all items, that a model is calibrated with at a time."""

RESERVED, LEARNT = 0.1, 2**16
"""Share of a first block's targets that calibrate a first version, `CALIBRATED` at most, and how
many before them the other model is trained on at most: blocks may be of any size."""

Train = Callable[[SessionModel, EncodedBlock], None]
"""Trains a model that is initialised and knows no item on a block, and leaves it in eval mode."""


def drawn(
    samples: Samples, n_items: int, rng: np.random.Generator, device: torch.device
) -> Iterator[Batch]:
    """Draw what is scored with so many items; the fewer samples, the more items there are."""
    most = max(1, min(CALIBRATED, CALIBRATED_SCORES // max(1, n_items)))
    at_once = max(1, min(CALIBRATED_AT_ONCE, SCORES_AT_ONCE // max(1, n_items)))
    some = samples.take(rng.permutation(len(samples))[:most])
    for rows in by_length(some.lengths, at_once):
        yield pack(some, rows, device)


def calibrate(
    model: SessionModel,
    block: EncodedBlock,
    rng: np.random.Generator,
    between: Callable[[], None] = nothing,
) -> None:
    """Calibrate a model with the clicks of a block, as far as it knows their items."""
    unseen = block.known_to(model.n_items).learnt()
    batches = drawn(unseen, model.n_items, rng, model.device)
    model.calibrate(batches, len(unseen), between)


def calibrate_first(
    model: SessionModel,
    block: EncodedBlock,
    train: Train,
    rng: np.random.Generator,
    between: Callable[[], None] = nothing,
) -> None:
    """Calibrate a first model, not trained yet, by what another one ranks best.

    What is rare in the block is guessed first; of a block without a target to spare, no more.

    Parameters
    ----------
    model
        Initialised; it knows no item.
    block
        What it will be trained on.
    train
        How.
    rng
        Source of what is drawn.
    between
        Called after every batch.
    """
    model.anticipate(drawn(block.learnt(), 1, rng, model.device))
    before, after = _first_sessions(block)
    if model.fitted and len(before.learnt()) and len(after.learnt()):
        other = copy.deepcopy(model)
        train(other, before.known_to(before.highest_item))
        # Not by `rng`: what is trained afterwards is the same, whether or not this was.
        calibrate(other, after, np.random.default_rng(len(after.learnt())), between)
        model.adopt(other)


def _first_sessions(block: EncodedBlock) -> tuple[EncodedBlock, EncodedBlock]:
    """Return the sessions that another model is trained on, and those that it is calibrated by."""
    targets: Int64 = block.learnt().targets
    reserved = min(CALIBRATED, int(RESERVED * len(targets)))
    learnt = min(LEARNT, len(targets) - reserved)
    before, later = block.cut(block.session_of(targets, learnt))
    after, _ = later.cut(later.session_of(later.learnt().targets, reserved))
    return before, after
