"""One update cycle of ADER, to be read beside algorithm 1 of the paper.

Training continues from the parent's model on the new block; in every step, distillation on the
exemplars keeps what the parent has learned; then new exemplars are selected. A `Method` may replace
each of these. Where the recipe's architecture is not the parent's, a new model is trained on the
exemplars and earlier blocks as well, with the same distillation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ader_stream.ader.artifact.state import State, untrained
from ader_stream.ader.calibration import calibrate_start
from ader_stream.ader.data.dataset import Samples, Sessions, require_item_ids
from ader_stream.ader.distributed import SINGLE_PROCESS, ProcessGroup
from ader_stream.ader.exemplars.selection import ALLOCATIONS, Exemplars, select_exemplars
from ader_stream.ader.methods import ADER, CycleContext, Method
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import Progress, ProgressReporter, ignore_progress
from ader_stream.ader.random_streams import RandomStreams
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.report import CycleReport, report_cycle
from ader_stream.ader.training.checkpoint import NOWHERE, Checkpoint
from ader_stream.ader.training.learner import FitResult, Learner, build_learner
from ader_stream.ader.training.loop import fit
from ader_stream.ader.training.split import CycleData, prepare_data


@dataclass(frozen=True, eq=False)
class CycleResult:
    """What `train_cycle` returns: the version, its statistics, and what it was not trained on.

    Parameters
    ----------
    state
        The new version.
    report
        Statistics of its training.
    held_out
        Sub-sequences of the block that it was not trained on; encoded with its vocabulary.
    """

    state: State
    report: CycleReport
    held_out: Samples


def train_cycle(
    sessions: Sessions,
    parent: State | None,
    recipe: Recipe,
    seed: int,
    on_progress: Callable[[Progress], None] = ignore_progress,
    method: Method = ADER,
    processes: ProcessGroup = SINGLE_PROCESS,
    checkpoint: Checkpoint = NOWHERE,
) -> CycleResult:
    """Train one version on one block.

    Same sessions, parent, recipe, seed and number of threads give the same state. Torch's
    global generator is seeded (dropout draws from it).

    Parameters
    ----------
    sessions
        D_t: item ids in order of clicks, the sessions in their final order. A session of one
        click counts for the vocabulary and gives no sub-sequence.
    parent
        The version that training continues from; None trains a first version. It is not changed.
    recipe
        Hyper-parameters.
    seed
        Not negative; every cycle along a chain of parents draws its own numbers from it.
    on_progress
        Called at every stage, and in it after every batch or chunk, so never seconds apart on a
        catalogue of a million items; an error that it raises ends the cycle.
    method
        How the cycle uses its parent.
    processes
        That train together; each of them calls this function, and gets the same state.
    checkpoint
        Where training is saved after every epoch. A cycle that it has a snapshot of continues from
        there, with the same result.

    Raises
    ------
    InputError
        A session is no sequence of item ids as text, or the seed is negative.
    TrainingError
        The block has no sub-sequence, or a loss, a weight or a representation is not finite.
    """
    require_item_ids(sessions)
    recipe, progress = method.adapt(recipe), ProgressReporter(on_progress)
    before = parent or untrained(recipe.architecture)
    random = RandomStreams.of(seed, before, processes.rank)
    rng, due = random.order, method.retention.due(before)

    data = prepare_data(sessions, before, recipe, rng, due, method.earlier, progress.report)  # D_t
    model = _grow(data, recipe, seed, random, processes, progress)  # θ_{t−1}, and rows for I_t
    weight = method.weigh(recipe.lambda_base, data.sizes)  # λ_t
    context = CycleContext(data, weight, recipe, rng, processes, progress.report)
    learner = _learner(model, context, method, progress)  # L_CE + λ_t · L_KD
    fitted = fit(learner, data.training, data.validation, recipe, rng, progress, checkpoint)  # θ_t
    del learner  # herding needs as much memory as Adam does
    began = time.perf_counter()
    exemplars = _select(model, fitted, context, method, progress)  # E_t

    idle = method.retention.idle_after(data.before, data.split.clicked)
    report = report_cycle(
        data,
        fitted,
        adaptive_weight=weight,
        exemplars=len(exemplars),
        clicks=model.clicks.numpy(force=True),
        samples_per_second=progress.samples_per_second,
        herding_seconds=time.perf_counter() - began,
    )
    state = State(
        fitted.weights, fitted.moments, exemplars, data.vocabulary, recipe.architecture, idle
    )
    return CycleResult(state, report, data.validation)


def _grow(
    data: CycleData,
    recipe: Recipe,
    seed: int,
    random: RandomStreams,
    processes: ProcessGroup,
    progress: ProgressReporter,
) -> SessionModel:
    """Return the calibrated model that training starts from, with a row for every item."""
    progress.enter_stage("calibrate")
    model = data.start.model(recipe.dropped, processes.device)
    calibrate_start(model, data, recipe, seed, random, processes, progress.report)
    model.grow(len(data.vocabulary), random.weights, recipe.item_bound)
    if data.is_rebuilt:
        model.update_statistics(data.earlier)
        model.copy_statistics(data.before.weights)
    model.update_statistics(data.split.block)
    torch.manual_seed(random.dropout)
    return model


def _learner(
    model: SessionModel, context: CycleContext, method: Method, progress: ProgressReporter
) -> Learner:
    """Return the learner of the block, with the method's replay and penalty."""
    progress.enter_stage("replay")
    data = context.data
    return build_learner(
        model,
        data.start,
        context.recipe,
        data.split.block,
        len(data.training),
        *method.regularisation(context),
        context.processes,
    )


def _select(
    model: SessionModel,
    fitted: FitResult,
    context: CycleContext,
    method: Method,
    progress: ProgressReporter,
) -> Exemplars:
    """Select exemplars of the block and the previous ones with the best epoch's weights."""
    progress.enter_stage("herd")
    model.zero_grad()
    model.load_state_dict(fitted.weights)
    data, recipe = context.data, context.recipe
    allocation = ALLOCATIONS[recipe.allocation]
    return select_exemplars(
        model.eval(),
        data.split.candidates + data.exemplars,
        recipe.exemplars,
        context.rng,
        method.allocate or allocation.allocate,
        allocation.adapt(method.choose),
        progress.report,
        recipe.allocation_power,
    )
