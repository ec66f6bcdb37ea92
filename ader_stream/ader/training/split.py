"""What a cycle trains on: a block without what is held out, and what its parent was trained on.

Nothing that is held out reaches a version: it is no target, it counts in no statistic, and no model
is calibrated on it. Where whole sessions are held out, they share no click with those that are
trained on, and neither the vocabulary nor the exemplars contain their clicks. Where single
sub-sequences are held out, as in the paper, their clicks are also inputs of later sub-sequences of
the same session, and the paper takes vocabulary and exemplar candidates from the whole block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from ader_stream.ader.artifact.state import State, untrained
from ader_stream.ader.data.arrays import Bools
from ader_stream.ader.data.dataset import Samples, Sessions, hold_out
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.progress import no_progress, with_progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.losses import CycleSizes
from ader_stream.errors import TrainingError


@dataclass(frozen=True, eq=False)
class Split:
    """A block, split at random.

    Parameters
    ----------
    vocabulary
        Items known afterwards.
    stayed
        Which of the items known before are still known (I,).
    clicked
        Items known afterwards with a click that may be learned (I',).
    block
        All sessions, encoded with it.
    training, validation
        Sub-sequences that are learned and those that are held out, both in random order.
    candidates
        Sub-sequences that may become exemplars.
    """

    vocabulary: Vocabulary
    stayed: Bools
    clicked: Bools
    block: EncodedBlock
    training: Samples
    validation: Samples
    candidates: Samples


def split_block(
    sessions: Sessions,
    known: Vocabulary,
    recipe: Recipe,
    rng: np.random.Generator,
    between: Callable[[], None] = no_progress,
    due: Bools | None = None,
) -> Split:
    """Draw what is held out, and update the vocabulary with the items of the rest.

    Parameters
    ----------
    sessions
        The block's, in their final order.
    known
        Items known before; with those known afterwards, the split is the same.
    recipe
        Says how much is held out, and in which units.
    rng
        Source of the draw.
    between
        Called now and then.
    due
        Items known before that leave where the rest has no click on them (I,); None: no item.
    """
    whole = _drawn_sessions(sessions, recipe.held_out_sessions, rng)

    def learnt() -> Iterator[Sequence[str]]:
        return compress(with_progress(sessions, between), (~whole).tolist())

    stayed = np.ones(len(known), np.bool_)
    if due is not None and due.any():
        stayed = ~due | known.clicked(learnt())
    vocabulary = known.keep(stayed).extended(learnt(), recipe.min_item_count)
    encoded = (vocabulary.encode(session) for session in with_progress(sessions, between))
    block = EncodedBlock.of(encoded, recipe.maxlen, whole)
    candidates, held = block.training_samples(), block.held_out_samples()
    training, single = hold_out(candidates, recipe.held_out_samples, rng)
    # Not by `rng`: what the cycle draws later would depend on how much was held out.
    mixed = held.take(np.random.default_rng(len(held)).permutation(len(held)))
    validation = mixed if len(held) else single
    clicked = block.clicks(len(vocabulary)) > 0
    return Split(
        vocabulary,
        stayed,
        clicked,
        block.without(single.targets),
        training,
        validation,
        candidates,
    )


@dataclass(frozen=True, eq=False)
class CycleData:
    """The data of an update cycle: D_t, I_t and E_{t−1} of the paper's algorithm 1.

    Parameters
    ----------
    sessions, clicks
        Of the block, before anything is left out.
    split
        The block, split.
    before
        The parent, without the items that leave; without a parent, an untrained state.
    start
        Where training starts: `before`, or an untrained state where the recipe has another
        architecture.
    due
        Items of the parent that leave unless the block shows a click on them (I,).
    exemplars
        E_{t−1}: the parent's exemplars.
    earlier, earlier_sessions
        Sessions of earlier blocks that a rebuilt model is trained on again, and how many; none
        where the model is not rebuilt.
    training
        Sub-sequences that are trained on: the block's; for a rebuilt model, exemplars and earlier
        sessions as well.
    """

    sessions: int
    clicks: int
    split: Split
    before: State
    start: State
    due: Bools
    exemplars: Samples
    earlier: EncodedBlock
    earlier_sessions: int
    training: Samples

    @property
    def is_rebuilt(self) -> bool:
        """Whether the recipe's architecture is not the parent's."""
        return self.start is not self.before

    @property
    def vocabulary(self) -> Vocabulary:
        """I_t: the items known after the cycle."""
        return self.split.vocabulary

    @property
    def validation(self) -> Samples:
        """Sub-sequences held out."""
        return self.split.validation

    @property
    def sizes(self) -> CycleSizes:
        """The sizes that the adaptive weight depends on."""
        return CycleSizes(
            old_items=len(self.before.vocabulary),
            items=len(self.vocabulary),
            exemplars=len(self.exemplars),
            train_samples=len(self.training),
        )


def prepare_data(
    sessions: Sessions,
    parent: State,
    recipe: Recipe,
    rng: np.random.Generator,
    due: Bools,
    earlier: Sessions = (),
    between: Callable[[], None] = no_progress,
) -> CycleData:
    """Split a block, and collect what else the cycle trains on.

    Parameters
    ----------
    sessions
        The block's, in their final order.
    parent
        The version before, or an untrained state.
    recipe
        Decides what is held out, and whether the model is rebuilt.
    rng
        Source of the draw.
    due
        Items of the parent that leave unless the block shows a click on them (I,).
    earlier
        Sessions of earlier blocks, for a rebuilt model.
    between
        Called now and then.

    Raises
    ------
    TrainingError
        The block has no sub-sequence to train on.
    """
    split = split_block(sessions, parent.vocabulary, recipe, rng, between, due)
    clicks = sum(map(len, sessions))
    if not len(split.training):
        raise TrainingError(
            f"{len(sessions)} sessions with {clicks} clicks hold no sub-sequence of two known "
            "items to train on; join more blocks, or lower min_item_count"
        )
    before = start = parent.keep(split.stayed)
    exemplars, training = before.exemplars.samples().within(recipe.maxlen), split.training
    if before.architecture != recipe.architecture:
        start = untrained(recipe.architecture)
    again = earlier if start is not before else ()
    encoded = (split.vocabulary.encode(session) for session in with_progress(again, between))
    block = EncodedBlock.of(encoded, recipe.maxlen)
    if start is not before:
        training += exemplars + block.training_samples()
    return CycleData(
        sessions=len(sessions),
        clicks=clicks,
        split=split,
        before=before,
        start=start,
        due=due,
        exemplars=exemplars,
        earlier=block,
        earlier_sessions=len(again),
        training=training,
    )


def _drawn_sessions(sessions: Sessions, share: float, rng: np.random.Generator) -> Bools:
    """Return which sessions are held out (S,): a share of those that have a target."""
    held_out = np.zeros(len(sessions), np.bool_)
    if share:
        having = np.flatnonzero([len(session) > 1 for session in sessions])
        held_out[rng.permutation(having)[round(len(having) * (1 - share)) :]] = True
    return held_out
