"""Forgetting, plasticity and distillation of a new version.

==============  ==================================================================================
forgetting      how much recall on a sample of earlier blocks has fallen since the version of that
                block was new (Chaudhry et al., ECCV 2018, arXiv 1801.10112; there, since it was
                highest). The sample is held out where the recipe holds sessions out. Where it does
                not, the version of the block has learned the sample, and some of the fall is that
                it is no longer known by heart
plasticity      recall on clicks, not trained on, whose item no earlier version knew: of the version
                on held-out clicks, and of its parent on the clicks of the block after it
distillation    share of the distillation loss in the loss
==============  ==================================================================================

No measurement changes the version, or draws a random number of training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples, Sessions, split_sessions
from ader_stream.ader.device import CPU
from ader_stream.ader.metrics import count_ranks
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import rank_samples
from ader_stream.ader.progress import with_progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.model_registry.manifest import BlockRecall, Learning
from ader_stream.types import Counts
from ader_stream.versions.attempt import Attempt
from ader_stream.versions.gate.measures import still_known
from ader_stream.versions.learning.distillation import LOSS_SAMPLES, distillation_share
from ader_stream.versions.learning.samples import (
    EarlierSample,
    block_of,
    held_out_rows,
    spread,
)

SAMPLE_SESSIONS = 300
"""Sessions of a sample. With three targets each, the standard error of a recall of 50 % is below
two percentage points, and their positions take 1 kB in a manifest."""

RANKED = 5_000
"""Most targets that are ranked for a plasticity: seconds."""


@dataclass(frozen=True, eq=False)
class NewVersion:
    """A version that the gate has accepted, and what it was made of.

    Parameters
    ----------
    number
        Its number.
    state, report, held_out
        Of its update cycle (`CycleResult`).
    recipe, block, parent
        What the cycle was given.
    parents_new_items
        Items that were new in the parent; 0 if all were.
    """

    number: int
    state: State
    report: CycleReport
    held_out: Samples
    recipe: Recipe
    block: TrainingBlock
    parent: State | None
    parents_new_items: int = 0

    @classmethod
    def of(
        cls,
        attempt: Attempt,
        number: int,
        recipe: Recipe,
        block: TrainingBlock,
        parent: State | None,
        parents_new_items: int = 0,
    ) -> NewVersion:
        """Return the version of an update cycle that has succeeded."""
        state, held_out = attempt.state, attempt.held_out
        assert state is not None, "an accepted version has a state"
        assert held_out is not None, "and what its cycle has held out"
        return cls(
            number, state, attempt.report, held_out, recipe, block, parent, parents_new_items
        )


def measure_learning(
    new: NewVersion,
    earlier: Sequence[EarlierSample],
    between: Callable[[], None],
    device: torch.device = CPU,
) -> tuple[Learning, TrainingBlock]:
    """Measure a new version.

    Parameters
    ----------
    earlier
        Samples of its ancestors' blocks.
    between
        Called after every chunk.
    device
        Where it is ranked.

    Returns
    -------
    Learning, TrainingBlock
        What its manifest says of it, and the sample of its own block.
    """
    rows = _sampled_rows(new, between)
    own = block_of(new.block, rows)
    with torch.random.fork_rng(devices=[]):  # a module draws weights before it loads its own
        model = new.state.model(device=device)
        recalls = remembered(new, model, own.sessions.items, earlier, between)
        own_new, parents_new = plasticity(new, model, between), next_block(new, between, device)
        share = _distillation_share(new, between, device)
    learning = Learning(
        sample_rows=tuple(new.block.rows_read(rows).tolist()),
        is_held_out=new.recipe.held_out_sessions > 0,
        remembered=recalls,
        **forgetting([each for each in recalls if each.version != new.number]),
        new_targets=own_new.targets,
        plasticity_recall20=own_new.percentages().get("recall@20"),
        parent_new_targets=parents_new.targets,
        parent_plasticity_recall20=parents_new.percentages().get("recall@20"),
        distillation_share=share,
    )
    return learning, own


def _sampled_rows(new: NewVersion, between: Callable[[], None]) -> Int64:
    """Return the sessions of the block that later versions are measured on.

    None of a block that cannot be read again as it was: one without offsets, or without sessions
    that were trained on before.
    """
    block, sessions = new.block, new.block.sessions.items
    if not block.next_offsets or any(block.trained_before.values()):
        return np.zeros(0, np.int64)
    if new.recipe.held_out_sessions:
        rows = held_out_rows(new.held_out, sessions, new.state.vocabulary, between)
    else:
        rows = np.flatnonzero(np.diff(sessions.offsets) > 1)
    return spread(rows, SAMPLE_SESSIONS)


def remembered(
    new: NewVersion,
    model: SessionModel,
    own: Sessions,
    earlier: Sequence[EarlierSample],
    between: Callable[[], None],
) -> tuple[BlockRecall, ...]:
    """Return a version's recall on the sample of its own block, and on those of its ancestors."""
    itself = _described(new.number, recall_on(new.state, model, own, between), None)
    others = (
        _described(
            sample.manifest.version,
            recall_on(new.state, model, sample.block.sessions.items, between),
            sample.manifest.run.learning,
        )
        for sample in earlier
    )
    return tuple(each for each in (itself, *others) if each)


def recall_on(
    state: State, model: SessionModel, sessions: Sessions, between: Callable[[], None]
) -> Counts:
    """Count the hits of a version on sessions.

    Every click but a session's first is a target, known or not, so that versions with other
    vocabularies are measured on the same targets: what a version cannot rank is a miss.
    """
    encoded = (state.vocabulary.encode(session) for session in sessions)
    samples = split_sessions(encoded, state.architecture.maxlen)
    targets = sum(len(session) - 1 for session in sessions)
    return replace(count_ranks(rank_samples(model, samples, between)), targets=targets)


def _described(version: int, counts: Counts, then: Learning | None) -> BlockRecall | None:
    found = counts.percentages()
    if not found:
        return None
    known = then.remembered if then else ()
    first = next((each for each in known if each.version == version), None)
    return BlockRecall(
        version=version,
        targets=counts.targets,
        recall20=found["recall@20"],
        mrr20=found["mrr@20"],
        first_recall20=first.recall20 if first else None,
        first_mrr20=first.mrr20 if first else None,
    )


def forgetting(recalls: Sequence[BlockRecall]) -> dict[str, float]:
    """Return the mean fall of recall and MRR since the blocks were new; empty without any.

    >>> forgetting([BlockRecall(version=1, targets=9, recall20=40.0, mrr20=9.0, first_recall20=44.0,
    ...     first_mrr20=10.0)])
    {'forgetting_recall20': 4.0, 'forgetting_mrr20': 1.0}
    """
    falls = [
        (each.first_recall20 - each.recall20, each.first_mrr20 - each.mrr20)
        for each in recalls
        if each.first_recall20 is not None and each.first_mrr20 is not None
    ]
    if not falls:
        return {}
    recall, mrr = np.mean(falls, axis=0).tolist()
    return {"forgetting_recall20": recall, "forgetting_mrr20": mrr}


def plasticity(new: NewVersion, model: SessionModel, between: Callable[[], None]) -> Counts:
    """Count the hits of a version on held-out clicks on its new items; none of a first version."""
    if new.parent is None:
        return Counts()
    return _counts_of_new(model, new.held_out, new.report.new_items, between)


def next_block(new: NewVersion, between: Callable[[], None], device: torch.device) -> Counts:
    """Count the hits of the parent on clicks of the block after its own, on its new items."""
    parent = new.parent
    if parent is None or not new.parents_new_items:
        return Counts()
    sessions = with_progress(new.block.sessions.items, between)
    encoded = (parent.vocabulary.encode(session) for session in sessions)
    samples = split_sessions(encoded, parent.architecture.maxlen)
    return _counts_of_new(parent.model(device=device), samples, new.parents_new_items, between)


def _counts_of_new(
    model: SessionModel, samples: Samples, new_items: int, between: Callable[[], None]
) -> Counts:
    """Count the hits on the targets that are among the last so many items."""
    rows = np.flatnonzero(samples.labels > model.n_items - new_items)
    return count_ranks(rank_samples(model, samples.take(spread(rows, RANKED)), between))


def _distillation_share(
    new: NewVersion, between: Callable[[], None], device: torch.device
) -> float | None:
    parent, sessions = new.parent, new.block.sessions
    if parent is None:
        return None
    if new.report.left_items:
        parent = parent.keep(still_known(parent, new.state, between))
    some = sessions.take(spread(np.arange(len(sessions)), LOSS_SAMPLES)).items
    encoded = (new.state.vocabulary.encode(session) for session in some)
    samples = split_sessions(encoded, new.state.architecture.maxlen)
    weight = new.report.adaptive_weight
    return distillation_share(new.state, parent, samples, weight, new.recipe, device)
