"""The model in training: its optimizer, its loss, and one gradient step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LinearLR, LRScheduler

from ader_stream.ader.artifact.state import (
    MOMENTS,
    STEPS,
    State,
    copied_moments,
    copied_weights,
    resumed_adam,
)
from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.distributed import SINGLE_PROCESS, ProcessGroup
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.ensemble_loss import EnsembleLoss
from ader_stream.ader.training.ewc import Penalty, no_penalty
from ader_stream.ader.training.losses import FusedLoss, Loss, PlainLoss, output_precision
from ader_stream.ader.training.replay import Replay, TrainingBatch, labelled
from ader_stream.ader.training.sampled_softmax import SampledLoss


@dataclass(frozen=True, slots=True)
class NewItems:
    """Rows of the item table that Adam moves with an ε of their own.

    Parameters
    ----------
    first
        The first of them; all rows after it are new, too.
    gradient_scale
        k: Adam's ε over theirs. With gradients k times as large, a step is m k / (√v k + ε), which
        is m / (√v + ε / k).
    """

    first: int = 0
    gradient_scale: float = 1.0

    def scale(self, table: Tensor) -> None:
        """Scale their gradients, after a backward pass and before Adam's step."""
        if self.gradient_scale != 1.0 and table.grad is not None:
            table.grad[self.first :] *= self.gradient_scale


NO_NEW_ITEMS = NewItems()


@dataclass(frozen=True, eq=False)
class Learner:
    """A model in training.

    Parameters
    ----------
    model
        In training.
    adam, schedule
        Over its parameters, and its learning rate after each step.
    replay
        Exemplars that join every batch.
    loss
        Compares scores with targets.
    processes
        Processes that batches are shared among; all of them train the same model.
    new_items
        Items that the parent does not know.
    penalty
        Term of the loss that depends on the weights alone.
    """

    model: SessionModel
    adam: torch.optim.Adam
    schedule: LRScheduler
    replay: Replay
    loss: Loss
    processes: ProcessGroup = SINGLE_PROCESS
    new_items: NewItems = NO_NEW_ITEMS
    penalty: Penalty = no_penalty

    def step(self, samples: Samples, rows: Int64) -> float:
        """Take one gradient step: L = L_CE(new) + λ_t · L_KD(exemplars) (paper, equation 3)."""
        mine, part = self.processes.share(rows)
        new = labelled(samples, mine, part, self.model.device)
        replayed = self.replay.draw()
        self.adam.zero_grad()
        loss = self._learn([new, *replayed[:1]], self.penalty(self.model))
        for batch in replayed[1:]:  # the same gradients as in one pass, in less memory
            loss += self._learn([batch])
        self.processes.add_up_gradients(self.model)
        self.new_items.scale(self.model.items.weight)
        self.adam.step()
        self.schedule.step()
        self.processes.add_up([loss])
        return loss.item()

    def _learn(self, batches: Sequence[TrainingBatch], penalty: Tensor | float = 0.0) -> Tensor:
        """Add the gradients of some batches and of a penalty; return the loss."""
        inputs, targets = [batch.inputs for batch in batches], [one.target for one in batches]
        columns = self.loss.columns(targets)
        layer, embedded = self.model.look_up(inputs, columns)
        sessions = list(map(self.model.represent, embedded, inputs))
        loss = self.loss(sessions, layer, targets, columns) + penalty / self.processes.count
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def build_learner(
    model: SessionModel,
    start: State,
    recipe: Recipe,
    block: EncodedBlock,
    train_samples: int,
    replay: Replay,
    penalty: Penalty = no_penalty,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Learner:
    """Return the learner of a cycle.

    Parameters
    ----------
    model
        With a row for every item of the block.
    start
        The version whose training it continues, or an untrained state.
    recipe
        Hyper-parameters.
    block
        Whose clicks a sampled softmax draws by.
    train_samples
        Sub-sequences of an epoch.
    replay, penalty, processes
        See `Learner`.
    """
    moments = start.optimizer if recipe.carry_moments else {}
    learning_rate = _learning_rate(recipe, start, train_samples)
    adam = resumed_adam(model, moments, learning_rate, recipe.adam_epsilon)
    steps = recipe.steps(train_samples) * recipe.max_epochs
    schedule = LinearLR(adam, 1.0, recipe.last_learning_rate, steps)
    clicks = torch.from_numpy(block.clicks(model.n_items)).to(model.device)
    loss, new_items = build_loss(recipe, clicks), _new_items(start, recipe)
    return Learner(model, adam, schedule, replay, loss, processes, new_items, penalty)


def build_loss(recipe: Recipe, clicks: Tensor) -> Loss:
    """Return the loss of a recipe; `clicks` in the block, of each item (I,)."""
    loss: Loss
    if recipe.negatives:
        loss = SampledLoss(recipe.negatives, clicks)
    elif recipe.fused:
        loss = FusedLoss(output_precision(recipe, clicks.device))
    else:
        loss = PlainLoss()
    return loss if recipe.members == 1 else EnsembleLoss(recipe.members, loss)


def _learning_rate(recipe: Recipe, start: State, train_samples: int) -> float:
    """Return the learning rate, reduced where a block fills only a part of one batch.

    The parent was trained on many clicks: those of a small block change it no more than they would
    have as a part of a larger one.
    """
    filled = min(1.0, train_samples / recipe.batch_size) if start.steps else 1.0
    return filled * recipe.learning_rate


def _new_items(start: State, recipe: Recipe) -> NewItems:
    """Return the items that the parent does not know; none in a first version."""
    known = len(start.vocabulary)
    return NewItems(known, recipe.adam_epsilon / recipe.adam_epsilon_new) if known else NO_NEW_ITEMS


@dataclass(eq=False)
class FitResult:
    """The result of training: losses, and the best epoch's weights.

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
    seconds
        Of all epochs of this process, with their validation.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best_recall20(self) -> float:
        """Validation Recall@20 of the best epoch; -1 without one."""
        return self.validation[self.best_epoch - 1] if self.best_epoch else -1.0

    def keep(self, learner: Learner, recipe: Recipe) -> None:
        """Copy the weights after the last epoch, as the best so far."""
        self.best_epoch = len(self.losses)
        self.weights = copied_weights(learner.model)
        moments = MOMENTS if recipe.carry_moments else STEPS
        self.moments = copied_moments(learner.model, learner.adam, moments)
