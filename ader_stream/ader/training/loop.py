"""The epochs of a cycle: batches, validation, early stopping."""

from __future__ import annotations

import math
import time

import numpy as np
import structlog

from ader_stream.ader.artifact.state import not_finite
from ader_stream.ader.data.dataset import Samples, shuffled_batches
from ader_stream.ader.metrics import count_ranks
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import rank_samples
from ader_stream.ader.progress import ProgressReporter
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.checkpoint import NOWHERE, Checkpoint
from ader_stream.ader.training.learner import FitResult, Learner
from ader_stream.ader.training.snapshot import restore_snapshot, take_snapshot
from ader_stream.errors import TrainingError

log = structlog.get_logger(__name__)


def fit(
    learner: Learner,
    training: Samples,
    validation: Samples,
    recipe: Recipe,
    rng: np.random.Generator,
    progress: ProgressReporter,
    checkpoint: Checkpoint = NOWHERE,
) -> FitResult:
    """Train for `max_epochs`, or until validation Recall@20 has not improved for `patience` epochs.

    Parameters
    ----------
    learner
        Changed in place; the result has the values of the best epoch.
    training, validation
        New sub-sequences. Where none are held out, or training does not stop early
        (`Recipe.stops_early`),
        `Recipe.epochs_unwatched` epochs are trained and the last one counts.
    recipe
        Batch size, epochs, patience.
    rng
        Source of the order.
    progress
        Called after every batch and every chunk of validation.
    checkpoint
        Where training continues from, and where it is saved after every epoch.

    Raises
    ------
    TrainingError
        The loss, a weight or one of Adam's moments is no longer finite.
    """
    began = time.perf_counter()
    result, is_watched = FitResult(), len(validation) > 0 and recipe.stops_early
    if snapshot := checkpoint.load():
        restore_snapshot(snapshot, learner, result, rng, progress)
        log.info("cycle resumed from its checkpoint", epochs_done=len(result.losses))
    while not _is_over(result, recipe, is_watched=is_watched):
        _train_epoch(learner, training, recipe, rng, progress, result)
        if len(validation):
            progress.enter_stage("validate")
            result.validation.append(_recall20(learner.model, validation, progress))
        if is_watched and result.validation[-1] > result.best_recall20:
            result.keep(learner, recipe)
        checkpoint.save(take_snapshot(learner, result, rng, progress))
        progress.report_epoch(result.validation[-1] if len(validation) else None)
    if not is_watched:
        result.keep(learner, recipe)
    _require_finite_values(result, recipe)
    result.seconds = time.perf_counter() - began
    return result


def _is_over(result: FitResult, recipe: Recipe, *, is_watched: bool) -> bool:
    epochs = len(result.losses)
    if not is_watched:
        return epochs >= recipe.epochs_unwatched
    is_stalled = epochs > 0 and epochs - result.best_epoch >= max(1, recipe.patience)
    return is_stalled or epochs >= recipe.max_epochs


def _train_epoch(
    learner: Learner,
    training: Samples,
    recipe: Recipe,
    rng: np.random.Generator,
    progress: ProgressReporter,
    result: FitResult,
) -> None:
    learner.model.train()
    epoch = len(result.losses) + 1
    batches = shuffled_batches(training.lengths, recipe.batch_size, rng)
    losses: list[float] = []
    for step, rows in enumerate(batches, start=1):
        began = time.perf_counter()
        loss = learner.step(training, rows)
        _require_finite(loss, epoch, step, recipe)
        losses.append(loss)
        progress.count(len(rows) + learner.replay.batch_size, time.perf_counter() - began)
        progress.report_step(epoch, step, len(batches), loss)
    result.losses.append(float(np.mean(losses)))


def _recall20(model: SessionModel, validation: Samples, progress: ProgressReporter) -> float:
    model.eval()
    ranks = rank_samples(model, validation, progress.report)
    return count_ranks(ranks).percentages()["recall@20"]


def _require_finite_values(result: FitResult, recipe: Recipe) -> None:
    """Check the weights after the last step as well, whose loss is never computed."""
    if broken := not_finite({**result.weights, **result.moments}):
        raise TrainingError(
            f"not finite after epoch {result.best_epoch}: {', '.join(broken)}; lower the learning "
            f"rate ({recipe.learning_rate}) or start from an older version"
        )


def _require_finite(loss: float, epoch: int, step: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"loss is {loss} at epoch {epoch}, step {step}; lower the learning rate "
            f"({recipe.learning_rate}) or start from an older version"
        )
