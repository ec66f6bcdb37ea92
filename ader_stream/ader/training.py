"""The epochs of a cycle: steps, validation, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from ader_stream.ader.dataset import Int64, Samples, shuffled_batches
from ader_stream.ader.losses import Loss
from ader_stream.ader.model import SessionModel
from ader_stream.ader.ranking import rank_samples
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.replay import Replay, labelled
from ader_stream.ader.state import copied_moments, copied_weights
from ader_stream.ader.workers import ALONE, Workers
from ader_stream.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a cycle is; told after every batch, and again while it validates and herds.

    Parameters
    ----------
    epoch
        From 1.
    step, steps
        Batches of this epoch done, and in all.
    loss
        Of the last batch.
    samples_per_second
        New sub-sequences and exemplars, over the seconds spent training them in this cycle.
    validation_recall20
        Of the last epoch that ended, in percent; None before, or where nothing is held out.
    ends_epoch
        Told once an epoch, after its validation.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    samples_per_second: float
    validation_recall20: float | None = None
    ends_epoch: bool = False


class Pace:
    """Counts what was trained and tells the caller.

    Parameters
    ----------
    on_progress
        Called with every `Progress`; what it raises ends the cycle.
    """

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self.on_progress = on_progress
        self.samples = 0
        self.seconds = 0.0
        self.now = Progress(epoch=0, step=0, steps=0, loss=math.nan, samples_per_second=0.0)

    @property
    def samples_per_second(self) -> float:
        """Sub-sequences a second of training; 0 before the first batch."""
        return self.samples / self.seconds if self.seconds else 0.0

    def count(self, samples: int, seconds: float) -> None:
        """Count a batch that was trained."""
        self.samples += samples
        self.seconds += seconds

    def trained(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Tell that a batch is done."""
        recall = self.now.validation_recall20
        self.now = Progress(epoch, step, steps, loss, self.samples_per_second, recall)
        self.tell()

    def validated(self, recall20: float | None) -> None:
        """Tell that an epoch has ended."""
        self.now = replace(self.now, validation_recall20=recall20)
        self.on_progress(replace(self.now, ends_epoch=True))

    def tell(self) -> None:
        """Tell the same again, so that a long stretch without a batch is no silence."""
        self.on_progress(self.now)


@dataclass(frozen=True, eq=False)
class Learner:
    """A model, its optimizer, and what it must not forget.

    Parameters
    ----------
    model
        In training.
    adam, schedule
        Over its parameters, and its learning rate after each step.
    replay
        What joins every batch.
    loss
        Compares scores with targets.
    workers
        Among whom batches are shared; all of them train the same model.
    """

    model: SessionModel
    adam: torch.optim.Adam
    schedule: LRScheduler
    replay: Replay
    loss: Loss
    workers: Workers = ALONE

    def step(self, samples: Samples, rows: Int64) -> float:
        """Take one gradient step: L = L_CE(new) + λ_t · L_KD(exemplars) (paper, equation 3)."""
        mine, part = self.workers.share(rows)
        lessons = [labelled(samples, mine, part), *self.replay.draw()]
        inputs = [lesson.inputs for lesson in lessons]
        layer, embedded = self.model.look_up(inputs)
        sessions = list(map(self.model.represent, embedded, inputs))
        loss = self.loss(sessions, layer, [lesson.target for lesson in lessons])
        loss = loss + self.replay.penalty(self.model) / self.workers.count
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.workers.add_up_gradients(self.model)
        self.adam.step()
        self.schedule.step()
        whole = loss.detach()
        self.workers.add_up([whole])
        return whole.item()


@dataclass(eq=False)
class Fit:
    """What the epochs came to.

    Parameters
    ----------
    weights, moments
        After the best epoch.
    best_epoch
        From 1.
    losses
        Mean loss of every epoch.
    validation
        Recall@20 of every epoch, in percent; empty where nothing is held out.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)

    def keep(self, learner: Learner) -> None:
        """Copy what the last epoch came to, as the best so far."""
        self.best_epoch = len(self.losses)
        self.weights = copied_weights(learner.model)
        self.moments = copied_moments(learner.model, learner.adam)


def fit(
    learner: Learner,
    training: Samples,
    validation: Samples,
    recipe: Recipe,
    rng: np.random.Generator,
    pace: Pace,
) -> Fit:
    """Train until `patience` epochs in a row bring no better validation Recall@20.

    Parameters
    ----------
    learner
        Changed in place; the best epoch's values come back in the result.
    training, validation
        New sub-sequences. Where none is held out, `Recipe.epochs_unwatched` epochs are trained
        and the last one counts.
    recipe
        Batch size, epochs, patience.
    rng
        Source of the order.
    pace
        Told after every batch and every chunk of validation.

    Raises
    ------
    TrainingError
        The loss is no longer finite.
    """
    result = Fit()
    if not len(validation):
        for _ in range(recipe.epochs_unwatched):
            _train_epoch(learner, training, recipe, rng, pace, result)
            pace.validated(None)
        result.keep(learner)
        return result
    best = -1.0
    while len(result.losses) < recipe.max_epochs:
        _train_epoch(learner, training, recipe, rng, pace, result)
        recall = _recall20(learner.model, validation, pace)
        result.validation.append(recall)
        if recall > best:
            best = recall
            result.keep(learner)
        elif len(result.losses) - result.best_epoch >= recipe.patience:
            break
    return result


def _train_epoch(
    learner: Learner,
    training: Samples,
    recipe: Recipe,
    rng: np.random.Generator,
    pace: Pace,
    result: Fit,
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
        pace.count(len(rows) + learner.replay.batch_size, time.perf_counter() - began)
        pace.trained(epoch, step, len(batches), loss)
    result.losses.append(float(np.mean(losses)))


def _recall20(model: SessionModel, validation: Samples, pace: Pace) -> float:
    model.eval()
    ranks = rank_samples(model, validation, pace.tell)
    recall = 100 * float(np.mean(ranks < 20))
    pace.validated(recall)
    return recall


def _require_finite(loss: float, epoch: int, step: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"loss is {loss} at epoch {epoch}, step {step}; lower the learning rate "
            f"({recipe.learning_rate}) or start from an older version"
        )
