"""The paper's method, its baselines and its ablations.

A method is a value made of small functions, so that the update cycle has no branches for it.
Where the paper leaves something open, the authors' code decides (github.com/doublemul/ADER).

==============  ==================================================================================
``ader``        distillation on herded exemplars, weighed by λ_t
``finetune``    continues from the parent, without dropout; no exemplars
``dropout``     continues from the parent, with dropout; no exemplars
``ewc``         without dropout; a penalty on changed weights, by the Fisher information of the
                parent's exemplars, λ = λ_base
``joint``       trains a new model on all blocks so far in every cycle
``er-herding``  cross-entropy on the labels of herded exemplars, weighed by λ_t
``er-random``   the same with exemplars drawn at random within a label
``er-loss``     the same with the exemplars of lowest loss within a label
``ader-equal``  ADER with as many exemplars for one item as for another
``ader-fix``    ADER with λ = λ_base in every cycle
==============  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.dataset import Sessions
from ader_stream.ader.distributed import SINGLE_PROCESS, ProcessGroup
from ader_stream.ader.exemplars.selection import (
    Allocate,
    Choose,
    allocate_equally,
    at_random,
    by_herding,
    by_loss,
)
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import no_progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.retention import FOREVER, Retention
from ader_stream.ader.training.ewc import (
    ElasticPenalty,
    Penalty,
    draw_fisher_samples,
    fisher_information,
    no_penalty,
)
from ader_stream.ader.training.losses import CycleSizes, adaptive_weight, output_precision
from ader_stream.ader.training.replay import DistilledReplay, ExemplarBatches, LabelReplay, Replay
from ader_stream.ader.training.split import CycleData
from ader_stream.errors import SettingsError


@dataclass(frozen=True, eq=False)
class CycleContext:
    """What a method's functions may use of a cycle.

    Parameters
    ----------
    data
        What is trained on.
    weight
        λ of this cycle.
    recipe
        Hyper-parameters.
    rng
        Source of every draw.
    processes
        Processes that batches are shared among.
    between
        Called after every chunk that the teacher has processed.
    """

    data: CycleData
    weight: float
    recipe: Recipe
    rng: np.random.Generator
    processes: ProcessGroup = SINGLE_PROCESS
    between: Callable[[], None] = no_progress

    @property
    def precision(self) -> torch.dtype:
        """Precision of the output layer's products."""
        return output_precision(self.recipe, self.processes.device)

    def teacher(self) -> SessionModel:
        """Return the parent's model, on the student's device."""
        return self.data.before.model(device=self.processes.device)

    def batches(self) -> ExemplarBatches:
        """Return the parent's exemplars, one batch for every step."""
        steps = self.recipe.steps(len(self.data.training))
        most = self.recipe.exemplars_at_once(len(self.data.before.vocabulary))
        return ExemplarBatches(self.data.exemplars, steps, self.rng, self.processes, most)


def distil(context: CycleContext) -> Replay:
    """Distil the parent's distributions on the exemplars (paper, section 3.2)."""
    return DistilledReplay(
        context.batches(),
        context.weight,
        context.teacher(),
        context.precision,
        context.between,
    )


def rehearse(context: CycleContext) -> Replay:
    """Train on the exemplars' own labels again: plain experience replay."""
    return LabelReplay(context.batches(), context.weight)


def without_replay(context: CycleContext) -> Replay:  # noqa: ARG001
    """Replay no exemplar."""
    return Replay()


def consolidate(context: CycleContext) -> Penalty:
    """Penalise changes of the parent's weights by their Fisher information."""
    samples = draw_fisher_samples(context.data.before.exemplars.samples(), context.rng)
    teacher = context.teacher()
    importance = fisher_information(teacher, samples, context.between)
    return ElasticPenalty(context.weight, teacher.state_dict(), importance)


def without_penalty(context: CycleContext) -> Penalty:  # noqa: ARG001
    """Penalise no change of weights."""
    return no_penalty


def fixed_weight(base: float, sizes: CycleSizes) -> float:
    """Return λ_base in every cycle that has exemplars, else 0."""
    return base if sizes.exemplars else 0.0


def newest_block(blocks: Sequence[Sessions], parent: State | None) -> tuple[Sessions, State | None]:
    """Train on the last block, and continue from the parent."""
    return blocks[-1], parent


def all_blocks(
    blocks: Sequence[Sessions],
    parent: State | None,  # noqa: ARG001
) -> tuple[Sessions, State | None]:
    """Train a new model on every block so far."""
    return list(chain.from_iterable(blocks)), None


def unchanged(recipe: Recipe) -> Recipe:
    """Return the recipe unchanged."""
    return recipe


def without_exemplars(recipe: Recipe) -> Recipe:
    """Select no exemplars."""
    return replace(recipe, exemplars=0)


def without_dropout(recipe: Recipe) -> Recipe:
    """Drop no activation, as in the paper for fine-tuning and EWC."""
    return replace(recipe, dropout=0.0)


def without_exemplars_or_dropout(recipe: Recipe) -> Recipe:
    """Select no exemplars and drop no activation."""
    return without_dropout(without_exemplars(recipe))


@dataclass(frozen=True, slots=True)
class Method:
    """How an update cycle uses its parent; by default as ADER does.

    Parameters
    ----------
    adapt
        Returns the recipe that is trained.
    training_data
        (blocks so far, parent) → sessions to train on, and the version to continue from.
    weigh
        (λ_base, sizes of the cycle) → λ of the cycle.
    replay
        Returns the exemplars that join every step of a cycle whose parent has exemplars.
    penalty
        Returns the term of the loss for such a cycle that depends on the weights alone.
    allocate, choose
        How many exemplars an item gets (by default as the recipe says), and which ones.
    retention
        How long items stay without a click; those that leave do so before training.
    earlier
        Sessions of earlier blocks, which a model of another architecture than the parent's is
        trained on again.
    """

    adapt: Callable[[Recipe], Recipe] = unchanged
    training_data: Callable[[Sequence[Sessions], State | None], tuple[Sessions, State | None]] = (
        newest_block
    )
    weigh: Callable[[float, CycleSizes], float] = adaptive_weight
    replay: Callable[[CycleContext], Replay] = distil
    penalty: Callable[[CycleContext], Penalty] = without_penalty
    allocate: Allocate | None = None
    choose: Choose = by_herding
    retention: Retention = FOREVER
    earlier: Sessions = ()

    def regularisation(self, context: CycleContext) -> tuple[Replay, Penalty]:
        """Return what protects the parent's knowledge in every step; nothing without exemplars."""
        if not len(context.data.exemplars):
            return Replay(), no_penalty
        return self.replay(context), self.penalty(context)


ADER = Method()

METHODS = {
    "ader": ADER,
    "finetune": Method(adapt=without_exemplars_or_dropout),
    "dropout": Method(adapt=without_exemplars),
    "ewc": Method(
        adapt=without_dropout, weigh=fixed_weight, replay=without_replay, penalty=consolidate
    ),
    "joint": Method(adapt=without_exemplars, training_data=all_blocks),
    "er-herding": Method(replay=rehearse),
    "er-random": Method(replay=rehearse, choose=at_random),
    "er-loss": Method(replay=rehearse, choose=by_loss),
    "ader-equal": Method(allocate=allocate_equally),
    "ader-fix": Method(weigh=fixed_weight),
}


def method(name: str) -> Method:
    """Look a method up by name; raises SettingsError where there is none."""
    if name not in METHODS:
        raise SettingsError(f"method {name!r} is not known; use one of: {', '.join(METHODS)}")
    return METHODS[name]
