"""Snapshots of training at the end of an epoch, to save and to restore.

Weights, optimizer, learning rate, the best epoch, the rest of the pass over the exemplars, and the
state of both generators: a cycle that continues from a snapshot has the same result, to the byte,
as one without an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ader_stream.ader.artifact.state import MOMENTS, restore_moments
from ader_stream.ader.device import generator_state, set_generator_state
from ader_stream.ader.progress import ProgressReporter
from ader_stream.ader.training.checkpoint import Snapshot
from ader_stream.ader.training.learner import FitResult, Learner


def take_snapshot(
    learner: Learner, result: FitResult, rng: np.random.Generator, progress: ProgressReporter
) -> Snapshot:
    """Return a snapshot of training; on the CPU it shares the tensors in use."""
    adam = learner.adam
    moments = {
        f"{name}.{moment}": adam.state[weight][moment]
        for name, weight in learner.model.named_parameters()
        for moment in MOMENTS
    }
    tensors = {
        **_named("model", learner.model.state_dict()),
        **_named("adam", moments),
        **_named("best", result.weights),
        **_named("best-adam", result.moments),
        "dropout": generator_state(learner.model.device),
        "exemplars": torch.from_numpy(learner.replay.rest()),
    }
    numbers = {
        "order": rng.bit_generator.state,
        "schedule": learner.schedule.state_dict(),
        "learning_rate": adam.param_groups[0]["lr"],
        "best_epoch": result.best_epoch,
        "losses": result.losses,
        "validation": result.validation,
        "samples": progress.samples,
        "seconds": progress.seconds,
    }
    return Snapshot(tensors, numbers)


def restore_snapshot(
    snapshot: Snapshot,
    learner: Learner,
    result: FitResult,
    rng: np.random.Generator,
    progress: ProgressReporter,
) -> None:
    """Restore a snapshot into a cycle that has just begun."""
    tensors, numbers = snapshot.tensors, snapshot.numbers
    learner.model.load_state_dict(_of("model", tensors))
    restore_moments(learner.model, learner.adam, _of("adam", tensors))
    learner.adam.param_groups[0]["lr"] = numbers["learning_rate"]
    learner.schedule.load_state_dict(numbers["schedule"])
    learner.replay.resume(tensors["exemplars"].numpy())
    set_generator_state(learner.model.device, tensors["dropout"])
    rng.bit_generator.state = numbers["order"]
    result.weights, result.moments = _of("best", tensors), _of("best-adam", tensors)
    result.best_epoch = numbers["best_epoch"]
    result.losses, result.validation = numbers["losses"], numbers["validation"]
    progress.samples, progress.seconds = numbers["samples"], numbers["seconds"]


def _named(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{group}/{name}": tensor.cpu() for name, tensor in tensors.items()}


def _of(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{group}/"
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}
