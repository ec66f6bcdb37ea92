"""A block in two parts: what a cycle learns from, and what it holds out to measure by.

Nothing that is held out reaches a version: it is no target, it counts in no statistic, and no model
is calibrated on it. Where whole sessions are held out, they share no click with those that are
trained on, and the vocabulary and the exemplars know nothing of them either. Where single
sub-sequences are, as in the paper, their clicks are also inputs of later sub-sequences of the same
session, and the paper has vocabulary and exemplar candidates from the whole block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from ader_stream.ader.data.arrays import Bools
from ader_stream.ader.data.dataset import Samples, hold_out
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.progress import nothing, told
from ader_stream.ader.recipes import Recipe


@dataclass(frozen=True, eq=False)
class Split:
    """What a cycle does with each part of a block.

    Parameters
    ----------
    vocabulary
        Items known afterwards.
    stayed
        Which of the items known before are still known (I,).
    clicked
        Items known afterwards with a click that may be learnt (I',).
    block
        All sessions, encoded with it.
    training, validation
        Sub-sequences that are learnt and those that are held out, both in random order.
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
    sessions: Collection[Sequence[str]],
    known: Vocabulary,
    recipe: Recipe,
    rng: np.random.Generator,
    between: Callable[[], None] = nothing,
    due: Bools | None = None,
) -> Split:
    """Draw what is held out, and let the vocabulary learn the items of the rest, and forget some.

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
        return compress(told(sessions, between), (~whole).tolist())

    stayed = np.ones(len(known), np.bool_)
    if due is not None and due.any():
        stayed = ~due | known.clicked(learnt())
    vocabulary = known.keep(stayed).extended(learnt(), recipe.min_item_count)
    encoded = (vocabulary.encode(session) for session in told(sessions, between))
    block = EncodedBlock.of(encoded, recipe.maxlen, whole)
    candidates, held = block.learnt(), block.held()
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


def _drawn_sessions(
    sessions: Collection[Sequence[str]], share: float, rng: np.random.Generator
) -> Bools:
    """Tell which sessions are held out (S,): a share of those that have a target."""
    held_out = np.zeros(len(sessions), np.bool_)
    if share:
        having = np.flatnonzero([len(session) > 1 for session in sessions])
        held_out[rng.permutation(having)[round(len(having) * (1 - share)) :]] = True
    return held_out
