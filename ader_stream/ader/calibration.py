"""Calibration of what a version adds to its scores, on clicks that its model was not trained on.

A version with a parent is calibrated on its block, before it is trained on it. A first version
cannot rank before it is trained, and has no other clicks afterwards: so another model is trained on
the first sessions of its block and calibrated on those that follow. Only the calibration of that
model is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from ader_stream.ader.artifact.state import untrained
from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Batch, Samples, by_length, pack
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.distributed import SINGLE_PROCESS, ProcessGroup
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import ProgressReporter, no_progress
from ader_stream.ader.random_streams import RandomStreams
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.learner import build_learner
from ader_stream.ader.training.loop import fit
from ader_stream.ader.training.replay import Replay
from ader_stream.ader.training.split import CycleData

CALIBRATED, CALIBRATED_SCORES = 5_000, 10**9
"""Samples that a model is calibrated with, drawn at random, and the most scores of a sample with an
item: catalogues of more than 200,000 items get fewer samples, which take no longer."""

CALIBRATED_AT_ONCE, SCORES_AT_ONCE = 256, 2**24
"""Samples, and their scores with all items, in one batch of the calibration."""

RESERVED, LEARNT = 0.1, 2**16
"""Share of a first block's targets that calibrate a first version, at most `CALIBRATED`, and the
most targets before them that the other model is trained on: blocks may have any size."""

Train = Callable[[SessionModel, EncodedBlock], None]
"""Trains an initialised model without items on a block, and leaves it in eval mode."""


def calibrate_start(
    model: SessionModel,
    data: CycleData,
    recipe: Recipe,
    seed: int,
    random: RandomStreams,
    processes: ProcessGroup = SINGLE_PROCESS,
    between: Callable[[], None] = no_progress,
) -> None:
    """Calibrate the model that a cycle starts from; draw the first weights of one without any.

    Parameters
    ----------
    model
        Of `data.start`.
    data
        What it will be trained on.
    recipe, seed, processes
        Of the cycle.
    random
        The cycle's random numbers.
    between
        Called after every batch.
    """
    block = data.split.block
    if data.start.steps:
        calibrate(model, block, random.order, between)
        return
    model.initialise(random.weights)
    train = partial(_train_apart, recipe, seed, processes, between)
    calibrate_first(model, block, train, random.order, between)


def draw_batches(
    samples: Samples, n_items: int, rng: np.random.Generator, device: torch.device
) -> Iterator[Batch]:
    """Draw samples to calibrate with; the more items there are, the fewer samples."""
    most = max(1, min(CALIBRATED, CALIBRATED_SCORES // max(1, n_items)))
    at_once = max(1, min(CALIBRATED_AT_ONCE, SCORES_AT_ONCE // max(1, n_items)))
    some = samples.take(rng.permutation(len(samples))[:most])
    for rows in by_length(some.lengths, at_once):
        yield pack(some, rows, device)


def calibrate(
    model: SessionModel,
    block: EncodedBlock,
    rng: np.random.Generator,
    between: Callable[[], None] = no_progress,
) -> None:
    """Calibrate a model with the clicks of a block on the items that it knows."""
    unseen = block.known_to(model.n_items).training_samples()
    batches = draw_batches(unseen, model.n_items, rng, model.device)
    model.calibrate(batches, len(unseen), between)


def calibrate_first(
    model: SessionModel,
    block: EncodedBlock,
    train: Train,
    rng: np.random.Generator,
    between: Callable[[], None] = no_progress,
) -> None:
    """Calibrate a model without a parent, before it is trained, by another model.

    The calibration starts from the shares of repeat clicks in the block; a block without enough
    targets for another model leaves it there.

    Parameters
    ----------
    model
        Initialised, without items.
    block
        What it will be trained on.
    train
        Trains the other model.
    rng
        Source of the draws.
    between
        Called after every batch.
    """
    model.init_calibration(draw_batches(block.training_samples(), 1, rng, model.device))
    before, after = _first_sessions(block)
    if model.fitted and len(before.training_samples()) and len(after.training_samples()):
        other = copy.deepcopy(model)
        train(other, before.known_to(before.highest_item))
        # Not `rng`: training draws the same numbers whether or not the model is calibrated.
        calibrate(other, after, np.random.default_rng(len(after.training_samples())), between)
        model.copy_calibration(other)


def _train_apart(
    recipe: Recipe,
    seed: int,
    processes: ProcessGroup,
    between: Callable[[], None],
    model: SessionModel,
    block: EncodedBlock,
) -> None:
    """Train a model from its first weights, only to calibrate it (`Train`)."""
    start, training = untrained(recipe.architecture), block.training_samples()
    random = RandomStreams.of(seed, start, processes.rank)
    torch.manual_seed(random.dropout)
    model.grow(block.highest_item, random.weights, recipe.item_bound)
    model.update_statistics(block)
    learner = build_learner(
        model, start, recipe, block, len(training), Replay(), processes=processes
    )
    nothing_held_out = training.take(np.zeros(0, np.int64))
    fit(
        learner,
        training,
        nothing_held_out,
        recipe,
        random.order,
        ProgressReporter(lambda _: between()),
    )
    model.eval()


def _first_sessions(block: EncodedBlock) -> tuple[EncodedBlock, EncodedBlock]:
    """Return the sessions that another model is trained on, and those that calibrate it."""
    targets: Int64 = block.training_samples().targets
    reserved = min(CALIBRATED, int(RESERVED * len(targets)))
    learnt = min(LEARNT, len(targets) - reserved)
    before, later = block.split_at(block.session_of(targets, learnt))
    after, _ = later.split_at(later.session_of(later.training_samples().targets, reserved))
    return before, after
