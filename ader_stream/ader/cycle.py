"""One update cycle of ADER, to be read beside the paper (algorithm 1).

The parent's model goes on learning from the new block; in every step the exemplars hold it to
what the parent says about them; then new exemplars are chosen. A `Method` may do one of these
things in another way. Where the recipe's model is not the parent's (another encoder, width, …), a
new one learns from the exemplars and earlier blocks as well, and the parent teaches it alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.optim.lr_scheduler import LinearLR

from ader_stream.ader.artifact.state import State, resumed_adam, untrained
from ader_stream.ader.calibration import calibrate, calibrate_first
from ader_stream.ader.data.arrays import Bools, Float32
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.distributed import ALONE, Workers
from ader_stream.ader.exemplars.selection import ALLOCATIONS, select_exemplars
from ader_stream.ader.methods import ADER, Method, Past, Sessions
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import Pace, Progress, nothing, told
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.checkpoint import NOWHERE, Checkpoint
from ader_stream.ader.training.learner import NOBODY, Learner, Newcomers
from ader_stream.ader.training.loop import fit
from ader_stream.ader.training.replay import Replay
from ader_stream.ader.training.split import Split, split_block
from ader_stream.errors import TrainingError

FREQUENT_ITEMS = 100
"""Items that are recommended where nothing is known of a session."""


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
    frequent_items
        Most clicked first, older clicks counting less, `FREQUENT_ITEMS` at most; clicks held out
        are not counted.
    left_items
        Items that the parent knows and this version does not.
    recall_at_risk
        Percent of the targets whose items were due to leave, and stay because they were clicked.
        Had they left a block before, recall would be lower by as much at most: what leaving costs
        on the next block. None where no item was due.
    is_rebuilt
        Whether the model is another one than the parent's, trained from nothing.
    earlier_sessions
        That the parent was trained on, and such a model again.
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
    frequent_items: list[str]
    left_items: int = 0
    recall_at_risk: float | None = None
    is_rebuilt: bool = False
    earlier_sessions: int = 0


NOTHING_DONE = CycleReport(0, 0, [], [], 0.0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, [])
"""What is reported of a block that could not be trained."""


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
        Called at every stage, and in it after every batch or chunk, so never seconds apart on a
        catalogue of a million items; what it raises ends the cycle.
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
        The block has no sub-sequence, or a loss, a weight or a representation is not finite.
    """
    recipe = method.adapt(recipe)
    before = parent or untrained(recipe.architecture)
    rng, generator, dropout = _random_numbers(seed, before, workers)
    pace = Pace(on_progress)

    due = method.retention.due(before)
    split = split_block(sessions, before.vocabulary, recipe, rng, pace.tell, due)
    before = before.keep(split.stayed)
    start = before if before.architecture == recipe.architecture else untrained(recipe.architecture)
    vocabulary, block, training = split.vocabulary, split.block, split.training
    _require_samples(training, sessions)

    pace.enter("calibrate")
    model = start.model(recipe.dropped, workers.device)
    if start.steps:
        calibrate(model, block, rng, pace.tell)
    else:
        model.initialise(generator)
        train = partial(_train_apart, recipe, seed, workers, pace.tell)
        calibrate_first(model, block, train, rng, pace.tell)
    model.grow(len(vocabulary), generator, recipe.item_bound)
    old = before.exemplars.samples().within(recipe.maxlen)
    if start is not before:
        earlier = _encoded(method.earlier, vocabulary, recipe, pace.tell)
        training += old + earlier.learnt()
        model.meet(earlier)
        model.inherit(before.weights)
    model.meet(block)
    torch.manual_seed(dropout)
    weight = method.weigh(
        recipe.lambda_base, len(before.vocabulary), len(vocabulary), len(old), len(training)
    )
    steps = math.ceil(len(training) / recipe.batch_size)
    pace.enter("replay")
    past = Past(before, weight, steps, recipe, rng, workers, pace.tell)
    learner = _learner(model, start, past, method, block, training)

    began = time.perf_counter()
    learnt = fit(learner, training, split.validation, recipe, rng, pace, checkpoint)
    fitted = time.perf_counter()
    pace.enter("herd")
    del learner  # herding needs as much memory as Adam does
    model.zero_grad()
    model.load_state_dict(learnt.weights)
    allocation = ALLOCATIONS[recipe.allocation]
    exemplars = select_exemplars(
        model.eval(),
        split.candidates + old,
        recipe.exemplars,
        rng,
        method.allocate or allocation.share,
        allocation.adapt(method.choose),
        pace.tell,
        recipe.allocation_power,
    )
    herded = time.perf_counter()

    idle = method.retention.idle_after(before, split.clicked)
    state = State(learnt.weights, learnt.moments, exemplars, vocabulary, recipe.architecture, idle)
    report = CycleReport(
        epochs=len(learnt.losses),
        best_epoch=learnt.best_epoch,
        losses=learnt.losses,
        validation=learnt.validation,
        adaptive_weight=weight,
        exemplars=len(exemplars),
        train_samples=len(training),
        validation_samples=len(split.validation),
        sessions=len(sessions),
        clicks=_clicks(sessions),
        items=len(vocabulary),
        new_items=len(vocabulary) - len(before.vocabulary),
        left_items=int(np.count_nonzero(~split.stayed)),
        recall_at_risk=_recall_at_risk(due, split),
        is_rebuilt=start is not before,
        earlier_sessions=len(method.earlier) if start is not before else 0,
        train_seconds=fitted - began,
        samples_per_second=pace.samples_per_second,
        herding_seconds=herded - fitted,
        frequent_items=_most_clicked(model.clicks.numpy(force=True), vocabulary),
    )
    return state, report


def _learning_rate(recipe: Recipe, before: State, training: Samples) -> float:
    """Return how far a step goes: where a block fills a part of a batch only, so much of the rate.

    A parent has learnt from many clicks; those of a block move it no farther than they would have
    as a part of a larger one.
    """
    filled = min(1.0, len(training) / recipe.batch_size) if before.steps else 1.0
    return filled * recipe.learning_rate


def _recall_at_risk(due: Bools, split: Split) -> float | None:
    """Return the percent of the targets that fall on items that were due to leave (I,)."""
    if not due.any():
        return None
    is_due = np.zeros(len(split.vocabulary) + 1, np.bool_)
    is_due[1 : 1 + np.count_nonzero(split.stayed)] = due[split.stayed]
    return 100 * float(np.mean(is_due[split.candidates.labels]))


def _learner(
    model: SessionModel,
    start: State,
    past: Past,
    method: Method,
    block: EncodedBlock,
    training: Samples,
) -> Learner:
    """Put together what trains the model, which goes on from `start`, on a block's samples."""
    recipe = past.recipe
    loss = recipe.loss(torch.from_numpy(block.clicks(model.n_items)).to(model.device))
    learning_rate = _learning_rate(recipe, start, training)
    moments = start.optimizer if recipe.carry_moments else {}
    adam = resumed_adam(model, moments, learning_rate, recipe.adam_epsilon)
    schedule = LinearLR(adam, 1.0, recipe.last_learning_rate, past.steps * recipe.max_epochs)
    replay = method.hold(past) if len(past.parent.exemplars) else Replay()
    return Learner(model, adam, schedule, replay, loss, past.workers, _newcomers(start, recipe))


def _encoded(
    sessions: Sessions, vocabulary: Vocabulary, recipe: Recipe, between: Callable[[], None]
) -> EncodedBlock:
    """Encode sessions as far as their items are known."""
    encoded = (vocabulary.encode(session) for session in told(sessions, between))
    return EncodedBlock.of(encoded, recipe.maxlen)


def _newcomers(before: State, recipe: Recipe) -> Newcomers:
    """Return the items that the parent does not know; of a first version, none is behind others."""
    known = len(before.vocabulary)
    return Newcomers(known, recipe.adam_epsilon / recipe.adam_epsilon_new) if known else NOBODY


def _train_apart(
    recipe: Recipe,
    seed: int,
    workers: Workers,
    between: Callable[[], None],
    model: SessionModel,
    block: EncodedBlock,
) -> None:
    """Train a first model that no version is made of (`calibration.Train`)."""
    nothing_known, training = untrained(recipe.architecture), block.learnt()
    rng, generator, dropout = _random_numbers(seed, nothing_known, workers)
    torch.manual_seed(dropout)
    model.grow(block.highest_item, generator, recipe.item_bound)
    model.meet(block)
    steps = math.ceil(len(training) / recipe.batch_size)
    past = Past(nothing_known, 0.0, steps, recipe, rng, workers, between)
    learner = _learner(model, nothing_known, past, ADER, block, training)
    nothing_held_out = training.take(np.zeros(0, np.int64))
    fit(learner, training, nothing_held_out, recipe, rng, Pace(lambda _: between()))
    model.eval()


def held_out_samples(
    sessions: Sessions,
    parent: State | None,
    state: State,
    recipe: Recipe,
    seed: int,
    between: Callable[[], None] = nothing,
) -> Samples:
    """Draw again what `train_cycle` held out when it came to `state` from these arguments."""
    order, _, _ = _seeds(seed, parent or untrained(recipe.architecture))
    rng = np.random.default_rng(order)
    return split_block(sessions, state.vocabulary, recipe, rng, between).validation


def _random_numbers(
    seed: int, before: State, workers: Workers
) -> tuple[np.random.Generator, torch.Generator, int]:
    """Generators of the cycle's order and of its first weights; this worker's seed of dropout."""
    order, weights, dropout = _seeds(seed, before)
    generator = torch.Generator().manual_seed(weights)
    return np.random.default_rng(order), generator, (dropout + workers.rank) % 2**64


def _seeds(seed: int, before: State) -> list[int]:
    """Seeds of the cycle's order, of its first weights, and of dropout.

    Steps and items so far tell the cycles of a chain apart: without them, the new rows of
    every cycle would start where the first items of all started.
    """
    entropy = np.random.SeedSequence([seed, before.steps, len(before.vocabulary)])
    seeds: list[int] = entropy.generate_state(3, np.uint64).tolist()
    return seeds


def _most_clicked(clicks: Float32, vocabulary: Vocabulary) -> list[str]:
    """Order items by their clicks (I,), the most frequent first; of equal ones, the older."""
    order = np.argsort(-clicks, kind="stable")[:FREQUENT_ITEMS]
    return [vocabulary.item(row + 1) for row in order[clicks[order] > 0].tolist()]


def _clicks(sessions: Sessions) -> int:
    return sum(len(session) for session in sessions)


def _require_samples(training: Samples, sessions: Sessions) -> None:
    if not len(training):
        raise TrainingError(
            f"{len(sessions)} sessions with {_clicks(sessions)} clicks hold no sub-sequence of "
            "two known items to train on; join more blocks, or lower min_item_count"
        )
