"""Exemplars: the few sub-sequences that stand for everything before (paper, section 3.1).

How many an item gets, an `Allocate` decides; which ones, a `Choose`. They hold item indices only:
no key, no user, no time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ader_stream.ader.data.arrays import Bools, Float32, Float64, Int32, Int64
from ader_stream.ader.data.dataset import Samples, by_length, pack
from ader_stream.ader.data.vocabulary import PADDING, renumbered
from ader_stream.ader.exemplars.herding import herd
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import chunk_rows
from ader_stream.ader.progress import no_progress
from ader_stream.errors import TrainingError
from ader_stream.runtime.disk import disk_array

REPRESENTED_ROWS = 512
"""Sub-sequences represented at a time: of fifty clicks, four times as many take 0.4 GiB."""

Allocate = Callable[[Float64, Int64, int, np.random.Generator], Int64]
"""(weights and candidates by item index (I + 1,), N, rng) → exemplars wanted by item index."""

Choose = Callable[[SessionModel, Samples, Int64, np.random.Generator, Callable[[], None]], Int64]
"""(model, candidates, exemplars wanted by item index, rng, between) → rows chosen, at most
min(wanted, candidates) of a label."""


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Sub-sequences end to end, the target last.

    Parameters
    ----------
    items
        Item indices (N,).
    offsets
        Exemplar e is ``items[offsets[e]:offsets[e + 1]]``; (E + 1,).
    """

    items: Int32
    offsets: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def none(cls) -> Exemplars:
        """Hold no exemplar at all."""
        return cls(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64))

    @classmethod
    def of(cls, samples: Samples) -> Exemplars:
        """Copy the samples' clicks, and only those."""
        sizes = samples.lengths + 1
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        shift = np.repeat(samples.starts - offsets[:-1], sizes)
        return cls(samples.items[np.arange(offsets[-1]) + shift], offsets)

    def keep(self, kept: Bools) -> Exemplars:
        """Number the items (I,) that stay anew; an exemplar that holds another one leaves, too."""
        if kept.all():
            return self
        renamed = Exemplars(renumbered(kept)[self.items], self.offsets)
        gone = np.concatenate([np.zeros(1, np.int64), np.cumsum(renamed.items == PADDING)])
        whole = gone[self.offsets[1:]] == gone[self.offsets[:-1]]
        return Exemplars.of(renamed.samples().take(np.flatnonzero(whole)))

    def samples(self) -> Samples:
        """Return the exemplars as samples to train on."""
        return Samples(self.items, self.offsets[:-1], self.offsets[1:] - 1)


def allocate_exemplars(
    weights: Float64,
    available: Int64,  # noqa: ARG001
    total: int,
    rng: np.random.Generator,
) -> Int64:
    """Share `total` exemplars among items, in proportion to weights: their counts as labels.

    One multinomial draw, as in the authors' code: the sum is `total` exactly.

    Parameters
    ----------
    weights
        By item index (I + 1,), not all of them 0.
    available
        Candidates of each item; what falls to an item beyond them is not shared out again.
    total
        N, exemplars to share.
    rng
        Source of the draw.
    """
    return rng.multinomial(total, weights / weights.sum())


def allocate_within(
    weights: Float64,
    available: Int64,
    total: int,
    rng: np.random.Generator,  # noqa: ARG001
) -> Int64:
    """Share `total` exemplars in proportion to weights, never more of an item than there are.

    Nothing is drawn: a block of few clicks replaces few exemplars. With every draw, many of the
    items with one exemplar lose it, so that a hundred small blocks would forget most of them.

    >>> allocate_within(np.array([0.0, 1.0, 3.0]), np.array([0, 5, 4]), 6, np.random.default_rng())
    array([0, 2, 4])
    """
    if available.sum() <= total:
        return available
    shares = np.minimum(available, _level(weights, available, total) * weights)
    wanted = np.floor(shares).astype(np.int64)
    first = np.argsort(wanted - shares, kind="stable")[: total - wanted.sum()]
    wanted[first] += 1
    return wanted


def _level(weights: Float64, available: Int64, total: int) -> float:
    """Return the x for which min(available, x · weight) adds up to `total`, less than there are."""
    rows = np.flatnonzero(weights)
    weights, available = weights[rows], available[rows]
    full = available / weights  # the x from which an item has all of its candidates
    order = np.argsort(full)
    taken = np.concatenate([[0], np.cumsum(available[order])])[:-1]
    rest = np.cumsum(weights[order][::-1])[::-1]
    levels = (total - taken) / rest
    return float(levels[np.argmax(levels <= full[order])])


def allocate_equally(
    weights: Float64,
    available: Int64,  # noqa: ARG001
    total: int,
    rng: np.random.Generator,
) -> Int64:
    """Share `total` exemplars among all known items alike: ADER-equal.

    As in the authors' code (``equal_exemplar``), what falls to an item without enough candidates
    is not shared out again.
    """
    alike = np.ones(len(weights))
    alike[PADDING] = 0
    return rng.multinomial(total, alike / alike.sum())


def by_herding(
    model: SessionModel,
    candidates: Samples,
    quotas: Int64,
    rng: np.random.Generator,  # noqa: ARG001
    between: Callable[[], None],
) -> Int64:
    """Choose those whose mean representation follows their label's mean."""
    represented = represent_samples(model, candidates, between)
    return herd(represented, candidates.labels, quotas, between)


def at_random(
    model: SessionModel,  # noqa: ARG001
    candidates: Samples,
    quotas: Int64,
    rng: np.random.Generator,
    between: Callable[[], None],  # noqa: ARG001
) -> Int64:
    """Draw without replacement among those of a label: ER-random."""
    return first_of_each_label(rng.permutation(len(candidates)), candidates.labels, quotas)


def by_loss(
    model: SessionModel,
    candidates: Samples,
    quotas: Int64,
    rng: np.random.Generator,  # noqa: ARG001
    between: Callable[[], None],
) -> Int64:
    """Choose those of a label that the model predicts best: ER-loss (paper, section 4.4).

    The authors' code sorts the *mean* loss of a label's candidates, a single number, and so keeps
    one candidate an item, whichever stands first; here each has its own loss, as the paper says.
    """
    order = np.argsort(sample_losses(model, candidates, between), kind="stable")
    return first_of_each_label(order, candidates.labels, quotas)


def sparing(choose: Choose) -> Choose:
    """Take every candidate of an item that may have them all, and choose among the others'.

    Herding may meet one candidate twice and gives up before it has all of them (`HERDING_SLACK`),
    so that every small block would cost exemplars that nothing has replaced.
    """

    def chosen(
        model: SessionModel,
        candidates: Samples,
        quotas: Int64,
        rng: np.random.Generator,
        between: Callable[[], None],
    ) -> Int64:
        counts = np.bincount(candidates.labels, minlength=len(quotas))
        is_whole = (quotas >= counts)[candidates.labels]
        whole, rest = np.flatnonzero(is_whole), np.flatnonzero(~is_whole)
        if not len(rest):
            return whole
        picked = choose(model, candidates.take(rest), quotas, rng, between)
        return np.concatenate([whole, rest[picked]])

    return chosen


@dataclass(frozen=True, slots=True)
class Allocation:
    """How a recipe shares exemplars out.

    Parameters
    ----------
    share
        How many each item gets.
    adapt
        What it makes of the way in which they are chosen.
    """

    share: Allocate
    adapt: Callable[[Choose], Choose]


ALLOCATIONS = {
    "drawn": Allocation(allocate_exemplars, lambda choose: choose),
    "within": Allocation(allocate_within, sparing),
}


def select_exemplars(
    model: SessionModel,
    candidates: Samples,
    total: int,
    rng: np.random.Generator,
    allocate: Allocate = allocate_exemplars,
    choose: Choose = by_herding,
    between: Callable[[], None] = no_progress,
    power: float = 1.0,
) -> Exemplars:
    """Allocate and choose.

    Parameters
    ----------
    model
        The cycle's best model, in eval mode.
    candidates
        The block's sub-sequences and the previous exemplars.
    total
        N, exemplars to allocate.
    rng
        Source of the allocation.
    allocate, choose
        How many an item gets, and which ones.
    between
        Called after every chunk that the model has seen, and every step of herding.
    power
        Of the counts that are allocated by.
    """
    if not total:
        return Exemplars.none()
    labels = candidates.labels
    counts = np.bincount(labels, minlength=model.n_items + 1)
    weights = np.where(counts, counts.astype(np.float64) ** power, 0.0)
    quotas = allocate(weights, counts, total, rng)
    wanted = candidates.take(np.flatnonzero(quotas[labels]))
    if not len(wanted):
        return Exemplars.none()
    return Exemplars.of(wanted.take(choose(model, wanted, quotas, rng, between)))


def first_of_each_label(order: Int64, labels: Int32, quotas: Int64) -> Int64:
    """Take rows in order until each label has its quota, or no candidate left.

    Parameters
    ----------
    order
        All rows (S,), the first to be taken first.
    labels
        Target items (S,).
    quotas
        Exemplars wanted by item index (I + 1,).
    """
    grouped = order[np.argsort(labels[order], kind="stable")]
    own = labels[grouped]
    _, starts, sizes = np.unique(own, return_index=True, return_counts=True)
    turn = np.arange(len(grouped)) - np.repeat(starts, sizes)
    return grouped[turn < quotas[own]]


@torch.no_grad()
def represent_samples(
    model: SessionModel, samples: Samples, between: Callable[[], None] = no_progress
) -> Float32:
    """Represent the samples' inputs: (S, D).

    Raises
    ------
    TrainingError
        A representation is not finite.
    """
    samples = samples.within(model.architecture.maxlen)
    represented = disk_array((len(samples), model.architecture.hidden), np.float32)
    for rows in by_length(samples.lengths, REPRESENTED_ROWS):
        sessions = model(pack(samples, rows, model.device).inputs)
        if not sessions.isfinite().all():
            raise TrainingError(
                "sessions have representations that are not finite; lower the learning rate, or "
                "start from an older version"
            )
        represented[rows] = sessions.numpy(force=True)
        between()
    return represented


@torch.no_grad()
def sample_losses(
    model: SessionModel, samples: Samples, between: Callable[[], None] = no_progress
) -> Float32:
    """Cross-entropy of every sample's own label over all known items, float32: (S,)."""
    losses = np.zeros(len(samples), dtype=np.float32)
    table = model.item_table()
    for rows in by_length(samples.lengths, chunk_rows(model)):
        batch = pack(samples, rows, model.device)
        scores = model(batch.inputs) @ table.T  # (B, I)
        own = functional.cross_entropy(scores, batch.targets - 1, reduction="none")
        losses[rows] = own.numpy(force=True)
        between()
    return losses
