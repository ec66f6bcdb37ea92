"""What is trained, and what its epochs have come to so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from ader_stream.ader.artifact.state import MOMENTS, STEPS, copied_moments, copied_weights
from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.distributed import ALONE, Workers
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.losses import Loss
from ader_stream.ader.training.replay import Lesson, Replay, labelled


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Rows of the item table that Adam moves with an ε of their own.

    Parameters
    ----------
    first
        The first of them; they are all that follow.
    haste
        Adam's ε over theirs. A gradient k times as large is a step m k / (√v k + ε), and that is
        m / (√v + ε / k).
    """

    first: int = 0
    haste: float = 1.0

    def scale(self, table: Tensor) -> None:
        """Scale their gradients, after a backward pass and before Adam's step."""
        if self.haste != 1.0 and table.grad is not None:
            table.grad[self.first :] *= self.haste


NOBODY = Newcomers()


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
    newcomers
        Items that the parent does not know.
    """

    model: SessionModel
    adam: torch.optim.Adam
    schedule: LRScheduler
    replay: Replay
    loss: Loss
    workers: Workers = ALONE
    newcomers: Newcomers = NOBODY

    def step(self, samples: Samples, rows: Int64) -> float:
        """Take one gradient step: L = L_CE(new) + λ_t · L_KD(exemplars) (paper, equation 3)."""
        mine, part = self.workers.share(rows)
        new = labelled(samples, mine, part, self.model.device)
        replayed = self.replay.draw()
        self.adam.zero_grad()
        loss = self._learn([new, *replayed[:1]], self.replay.penalty(self.model))
        for lesson in replayed[1:]:  # as if they had been in one pass, in less memory
            loss += self._learn([lesson])
        self.workers.add_up_gradients(self.model)
        self.newcomers.scale(self.model.items.weight)
        self.adam.step()
        self.schedule.step()
        self.workers.add_up([loss])
        return loss.item()

    def _learn(self, lessons: Sequence[Lesson], penalty: Tensor | float = 0.0) -> Tensor:
        """Add the gradients of some lessons, and of what the weights themselves add to the loss."""
        inputs, targets = [lesson.inputs for lesson in lessons], [one.target for one in lessons]
        columns = self.loss.columns(targets)
        layer, embedded = self.model.look_up(inputs, columns)
        sessions = list(map(self.model.represent, embedded, inputs))
        loss = self.loss(sessions, layer, targets, columns) + penalty / self.workers.count
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


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

    @property
    def best_recall20(self) -> float:
        """Validation Recall@20 of the best epoch; below all where there is none."""
        return self.validation[self.best_epoch - 1] if self.best_epoch else -1.0

    def keep(self, learner: Learner, recipe: Recipe) -> None:
        """Copy what the last epoch came to, as the best so far."""
        self.best_epoch = len(self.losses)
        self.weights = copied_weights(learner.model)
        moments = MOMENTS if recipe.carry_moments else STEPS
        self.moments = copied_moments(learner.model, learner.adam, moments)
