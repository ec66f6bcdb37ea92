"""One update cycle of ADER, to be read beside the paper (algorithm 1).

The parent's model goes on learning from the new block; in every step the exemplars hold it to
what the parent says about them; then new exemplars are chosen. A `Method` may do one of these
things in another way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim.lr_scheduler import LinearLR

from ader_stream.ader.checkpoint import NOWHERE, Checkpoint
from ader_stream.ader.dataset import Batch, Samples, by_length, hold_out, pack, split_sessions
from ader_stream.ader.exemplars import select_exemplars
from ader_stream.ader.learner import NOBODY, Learner, Newcomers
from ader_stream.ader.losses import Loss
from ader_stream.ader.methods import ADER, Method, Past, Sessions
from ader_stream.ader.model import SessionModel
from ader_stream.ader.pace import Pace, Progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.replay import Replay
from ader_stream.ader.state import State, resumed_adam, untrained
from ader_stream.ader.training import fit
from ader_stream.ader.workers import ALONE, Workers
from ader_stream.errors import SettingsError, TrainingError

CALIBRATED, CALIBRATED_AT_ONCE = 5_000, 256
"""Samples that a model is calibrated with, drawn at random."""


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What a cycle did, in plain numbers.

    Parameters
    ----------
    epochs, best_epoch
        Epochs trained, and the one that the new version comes from.
    losses
        Mean loss of every epoch.
    validation
        Recall@20 of every epoch, in percent; empty where nothing was held out.
    adaptive_weight
        λ of the cycle; 0 without exemplars.
    exemplars
        Kept for the next cycle.
    train_samples
        |D_t|: sub-sequences trained on, validation taken out.
    validation_samples
        Sub-sequences held out.
    sessions, clicks
        Of the block, as they came.
    items, new_items
        Items known afterwards, and how many of them the block brought.
    train_seconds
        Epochs and their validation.
    samples_per_second
        New sub-sequences and exemplars, over the seconds of training alone.
    herding_seconds
        Allocation, representations, herding.
    """

    epochs: int
    best_epoch: int
    losses: list[float]
    validation: list[float]
    adaptive_weight: float
    exemplars: int
    train_samples: int
    validation_samples: int
    sessions: int
    clicks: int
    items: int
    new_items: int
    train_seconds: float
    samples_per_second: float
    herding_seconds: float


def train_cycle(
    sessions: Sessions,
    parent: State | None,
    recipe: Recipe,
    seed: int,
    on_progress: Callable[[Progress], None],
    method: Method = ADER,
    workers: Workers = ALONE,
    checkpoint: Checkpoint = NOWHERE,
) -> tuple[State, CycleReport]:
    """Train one version on one block.

    Same sessions, parent, recipe, seed and number of threads give the same state. Torch's
    global generator is seeded (dropout draws from it).

    Parameters
    ----------
    sessions
        D_t: item ids in order of clicks, the sessions in their final order. A session of one
        click counts for the vocabulary and gives no sub-sequence.
    parent
        The version to go on from; None begins anew. It is not changed.
    recipe
        Hyper-parameters.
    seed
        Not negative; every cycle along a chain of parents draws its own numbers from it.
    on_progress
        Called after every batch and every chunk of validation and herding; what it raises
        ends the cycle.
    method
        What to do with the past.
    workers
        Processes that train together; each of them calls this, and comes to the same state.
    checkpoint
        Where the cycle is left after every epoch; one that has something of this cycle is gone on
        from, to the same state.

    Raises
    ------
    TrainingError
        The block has no sub-sequence, or the loss is no longer finite.
    SettingsError
        The recipe's model is not the parent's.
    """
    recipe = method.adapt(recipe)
    before = parent or untrained(recipe.architecture)
    require_same_architecture(before, recipe)
    rng, generator = _random_numbers(seed, before, workers)

    vocabulary = before.vocabulary.extended(sessions, recipe.min_item_count)
    block = split_sessions((vocabulary.encode(s) for s in sessions), recipe.maxlen)
    _require_samples(block, sessions)
    training, validation = hold_out(block, recipe.validation_share, rng)

    model = before.model(recipe.dropped, workers.device)
    if before.steps:
        model.calibrate(_as_seen_before(before, sessions, rng, workers.device))
    else:
        model.initialise(generator)
        model.anticipate(_drawn(block, rng, workers.device))
    model.grow(len(vocabulary), generator, recipe.item_bound)
    clicks = np.bincount(block.items, minlength=len(vocabulary) + 1)[1:]
    model.meet(block)
    old = before.exemplars.samples()
    weight = method.weigh(
        recipe.lambda_base, len(before.vocabulary), len(vocabulary), len(old), len(training)
    )
    steps = math.ceil(len(training) / recipe.batch_size)
    past = Past(before, weight, steps, recipe.precision_on(workers.device), rng, workers)
    loss = recipe.loss(torch.from_numpy(clicks).to(workers.device))
    learner = _learner(model, past, recipe, method, loss)

    pace = Pace(on_progress)
    began = time.perf_counter()
    learnt = fit(learner, training, validation, recipe, rng, pace, checkpoint)
    fitted = time.perf_counter()
    del learner  # herding needs as much memory as Adam does
    model.zero_grad()
    model.load_state_dict(learnt.weights)
    exemplars = select_exemplars(
        model.eval(),
        block + old,
        recipe.exemplars,
        rng,
        method.allocate,
        method.choose,
        pace.tell,
        recipe.allocation_power,
    )
    herded = time.perf_counter()

    state = State(learnt.weights, learnt.moments, exemplars, vocabulary, recipe.architecture)
    report = CycleReport(
        epochs=len(learnt.losses),
        best_epoch=learnt.best_epoch,
        losses=learnt.losses,
        validation=learnt.validation,
        adaptive_weight=weight,
        exemplars=len(exemplars),
        train_samples=len(training),
        validation_samples=len(validation),
        sessions=len(sessions),
        clicks=_clicks(sessions),
        items=len(vocabulary),
        new_items=len(vocabulary) - len(before.vocabulary),
        train_seconds=fitted - began,
        samples_per_second=pace.samples_per_second,
        herding_seconds=herded - fitted,
    )
    return state, report


def _learner(
    model: SessionModel, past: Past, recipe: Recipe, method: Method, loss: Loss
) -> Learner:
    """Put together what trains the model."""
    moments = past.parent.optimizer if recipe.carry_moments else {}
    adam = resumed_adam(model, moments, recipe.learning_rate, recipe.adam_epsilon)
    schedule = LinearLR(adam, 1.0, recipe.last_learning_rate, past.steps * recipe.max_epochs)
    replay = method.hold(past) if len(past.parent.exemplars) else Replay()
    return Learner(
        model, adam, schedule, replay, loss, past.workers, _newcomers(past.parent, recipe)
    )


def _newcomers(before: State, recipe: Recipe) -> Newcomers:
    """Return the items that the parent does not know; of a first version, none is behind others."""
    known = len(before.vocabulary)
    return Newcomers(known, recipe.adam_epsilon / recipe.adam_epsilon_new) if known else NOBODY


def _as_seen_before(
    before: State, sessions: Sessions, rng: np.random.Generator, device: torch.device
) -> Iterator[Batch]:
    """The block's samples as far as the parent knows their items."""
    known = (before.vocabulary.encode(session) for session in sessions)
    return _drawn(split_sessions(known, before.architecture.maxlen), rng, device)


def _drawn(samples: Samples, rng: np.random.Generator, device: torch.device) -> Iterator[Batch]:
    drawn = samples.take(rng.permutation(len(samples))[:CALIBRATED])
    for rows in by_length(drawn.lengths, CALIBRATED_AT_ONCE):
        yield pack(drawn, rows, device)


def held_out_samples(
    sessions: Sessions, parent: State | None, state: State, recipe: Recipe, seed: int
) -> Samples:
    """Draw again what `train_cycle` held out when it came to `state` from these arguments."""
    order, _, _ = _seeds(seed, parent or untrained(recipe.architecture))
    block = split_sessions((state.vocabulary.encode(s) for s in sessions), recipe.maxlen)
    return hold_out(block, recipe.validation_share, np.random.default_rng(order))[1]


def _random_numbers(
    seed: int, before: State, workers: Workers
) -> tuple[np.random.Generator, torch.Generator]:
    """Seed torch's dropout; the generators of the cycle's order and of its first weights."""
    order, weights, dropout = _seeds(seed, before)
    torch.manual_seed((dropout + workers.rank) % 2**64)
    return np.random.default_rng(order), torch.Generator().manual_seed(weights)


def _seeds(seed: int, before: State) -> list[int]:
    """Seeds of the cycle's order, of its first weights, and of dropout.

    Steps and items so far tell the cycles of a chain apart: without them, the new rows of
    every cycle would start where the first items of all started.
    """
    entropy = np.random.SeedSequence([seed, before.steps, len(before.vocabulary)])
    seeds: list[int] = entropy.generate_state(3, np.uint64).tolist()
    return seeds


def _clicks(sessions: Sessions) -> int:
    return sum(len(session) for session in sessions)


def require_same_architecture(before: State, recipe: Recipe) -> None:
    """Raise SettingsError if a recipe does not train the model of a version."""
    if before.architecture != recipe.architecture:
        raise SettingsError(
            f"the recipe trains {recipe.architecture}, its parent is {before.architecture}; "
            "keep the parent's, or begin anew without a parent"
        )


def _require_samples(block: Samples, sessions: Sessions) -> None:
    if not len(block):
        raise TrainingError(
            f"{len(sessions)} sessions with {_clicks(sessions)} clicks hold no sub-sequence of "
            "two known items; join more blocks, or lower min_item_count"
        )
