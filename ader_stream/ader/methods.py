"""The paper's method, its baselines and its ablations: what each does with the past.

A method is a value made of small functions, so that the update cycle stays one straight line.
Where the paper leaves something open, the authors' code decides (github.com/doublemul/ADER).

==============  ==================================================================================
``ader``        distillation on herded exemplars, weighed by λ_t
``finetune``    goes on from the parent, without dropout; no past
``dropout``     goes on from the parent, with dropout; no past
``ewc``         without dropout; anchored at the parent's weights by the Fisher information of its
                exemplars, λ = λ_base
``joint``       begins anew every cycle, on all blocks so far
``er-herding``  cross-entropy on the labels of herded exemplars, weighed by λ_t
``er-random``   the same with exemplars drawn at random within a label
``er-loss``     the same with the exemplars of lowest loss within a label
``ader-equal``  ADER with as many exemplars for one item as for another
``ader-fix``    ADER with λ = λ_base in every cycle
==============  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.distributed import ALONE, Workers
from ader_stream.ader.exemplars.selection import (
    Allocate,
    Choose,
    allocate_equally,
    at_random,
    by_herding,
    by_loss,
)
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import nothing
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.retention import FOREVER, Retention
from ader_stream.ader.training.ewc import Anchor, drawn, fisher_information
from ader_stream.ader.training.losses import adaptive_weight
from ader_stream.ader.training.replay import DistilledReplay, ExemplarBatches, LabelReplay, Replay
from ader_stream.errors import SettingsError

Sessions = Collection[Sequence[str]]
"""Item ids in order of clicks, for each session; gone through more than once."""


@dataclass(frozen=True, eq=False)
class Past:
    """What a method can hold the student to.

    Parameters
    ----------
    parent
        The version that the student comes from; it has exemplars.
    weight
        λ of this cycle.
    steps
        Batches of new sub-sequences an epoch.
    recipe
        Hyper-parameters.
    rng
        Source of whatever is drawn.
    workers
        Among whom batches are shared.
    between
        Called after every chunk that the parent has seen.
    """

    parent: State
    weight: float
    steps: int
    recipe: Recipe
    rng: np.random.Generator
    workers: Workers = ALONE
    between: Callable[[], None] = nothing

    @property
    def precision(self) -> torch.dtype:
        """Of the output layer's products."""
        return self.recipe.precision_on(self.workers.device)

    def teacher(self) -> SessionModel:
        """The parent's model, where the student is."""
        return self.parent.model(device=self.workers.device)

    def batches(self) -> ExemplarBatches:
        """The parent's exemplars, a batch for every step."""
        exemplars = self.parent.exemplars.samples().within(self.recipe.maxlen)
        most = self.recipe.exemplars_at_once(len(self.parent.vocabulary))
        return ExemplarBatches(exemplars, self.steps, self.rng, self.workers, most)


def distil(past: Past) -> Replay:
    """Hold the student to what its parent says about the exemplars (paper, section 3.2)."""
    return DistilledReplay(
        past.batches(), past.weight, past.teacher(), past.precision, past.between
    )


def rehearse(past: Past) -> Replay:
    """Train the exemplars' own labels again: plain experience replay."""
    return LabelReplay(past.batches(), past.weight)


def anchor(past: Past) -> Replay:
    """Hold the student to its parent's weights, each by its Fisher information."""
    samples = drawn(past.parent.exemplars.samples(), past.rng)
    teacher = past.teacher()
    importance = fisher_information(teacher, samples, past.between)
    return Anchor(past.weight, teacher.state_dict(), importance)


def fixed_weight(
    base: float,
    old_items: int,  # noqa: ARG001
    items: int,  # noqa: ARG001
    exemplars: int,
    train_samples: int,  # noqa: ARG001
) -> float:
    """λ_base in every cycle that has exemplars."""
    return base if exemplars else 0.0


def newest_block(blocks: Sequence[Sessions], parent: State | None) -> tuple[Sessions, State | None]:
    """Train on the last block, from the parent on."""
    return blocks[-1], parent


def all_blocks(
    blocks: Sequence[Sessions],
    parent: State | None,  # noqa: ARG001
) -> tuple[Sessions, State | None]:
    """Train on every block so far, from nothing on."""
    return list(chain.from_iterable(blocks)), None


def as_it_is(recipe: Recipe) -> Recipe:
    """Leave the recipe alone."""
    return recipe


def without_exemplars(recipe: Recipe) -> Recipe:
    """Keep nothing to replay."""
    return replace(recipe, exemplars=0)


def without_dropout(recipe: Recipe) -> Recipe:
    """Drop no activation, as the paper has it for fine-tuning and EWC."""
    return replace(recipe, dropout=0.0)


def without_either(recipe: Recipe) -> Recipe:
    """Keep nothing and drop nothing."""
    return without_dropout(without_exemplars(recipe))


@dataclass(frozen=True, slots=True)
class Method:
    """What an update cycle does with the past; by default what ADER does.

    Parameters
    ----------
    adapt
        What the method makes of a recipe.
    gather
        (blocks so far, parent) → what is trained on, and what it goes on from.
    weigh
        λ of a cycle, with the parameters of `adaptive_weight`.
    hold
        What joins every step of a cycle whose parent has exemplars.
    allocate, choose
        How many exemplars an item gets (by default as the recipe says), and which ones.
    retention
        How long items stay that nobody clicks; those that leave do so before anything is trained.
    earlier
        Sessions that the parent was trained on, and that are trained again where the recipe's model
        is not the parent's.
    """

    adapt: Callable[[Recipe], Recipe] = as_it_is
    gather: Callable[[Sequence[Sessions], State | None], tuple[Sessions, State | None]] = (
        newest_block
    )
    weigh: Callable[[float, int, int, int, int], float] = adaptive_weight
    hold: Callable[[Past], Replay] = distil
    allocate: Allocate | None = None
    choose: Choose = by_herding
    retention: Retention = FOREVER
    earlier: Sessions = ()


ADER = Method()

METHODS = {
    "ader": ADER,
    "finetune": Method(adapt=without_either),
    "dropout": Method(adapt=without_exemplars),
    "ewc": Method(adapt=without_dropout, hold=anchor, weigh=fixed_weight),
    "joint": Method(adapt=without_exemplars, gather=all_blocks),
    "er-herding": Method(hold=rehearse),
    "er-random": Method(hold=rehearse, choose=at_random),
    "er-loss": Method(hold=rehearse, choose=by_loss),
    "ader-equal": Method(allocate=allocate_equally),
    "ader-fix": Method(weigh=fixed_weight),
}


def method(name: str) -> Method:
    """Look a method up by name; raises SettingsError where there is none."""
    if name not in METHODS:
        raise SettingsError(f"method {name!r} is not known; use one of: {', '.join(METHODS)}")
    return METHODS[name]
