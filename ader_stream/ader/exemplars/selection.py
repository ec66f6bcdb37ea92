"""Exemplars: the few sub-sequences that represent all earlier blocks (paper, section 3.1).

An `Allocate` decides how many an item gets, and a `Choose` which ones. They hold item indices only:
no key, no user, no time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, eq=False)
class AllocationInputs:
    """What exemplars are allocated by.

    Parameters
    ----------
    weights
        By item index (I + 1,), not all of them 0.
    available
        Candidates of each item (I + 1,).
    total
        N: exemplars to allocate.
    rng
        Source of every draw.
    """

    weights: Float64
    available: Int64
    total: int
    rng: np.random.Generator


@dataclass(frozen=True, eq=False)
class SelectionInputs:
    """What exemplars are chosen by.

    Parameters
    ----------
    model
        The cycle's best model, in eval mode.
    candidates
        Sub-sequences that may become exemplars (S,).
    quotas
        Exemplars wanted by item index (I + 1,).
    rng
        Source of every draw.
    between
        Called after every chunk that the model has processed, and every step of herding.
    """

    model: SessionModel
    candidates: Samples
    quotas: Int64
    rng: np.random.Generator
    between: Callable[[], None] = no_progress


Allocate = Callable[[AllocationInputs], Int64]
"""Returns the exemplars wanted by item index (I + 1,)."""

Choose = Callable[[SelectionInputs], Int64]
"""Returns the rows of the candidates chosen, at most min(quota, candidates) of a label."""


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
        """Return no exemplars."""
        return cls(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64))

    @classmethod
    def of(cls, samples: Samples) -> Exemplars:
        """Return the samples as exemplars; only their clicks are copied."""
        sizes = samples.lengths + 1
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        shift = np.repeat(samples.starts - offsets[:-1], sizes)
        return cls(samples.items[np.arange(offsets[-1]) + shift], offsets)

    def keep(self, kept: Bools) -> Exemplars:
        """Return the exemplars whose items (I,) all stay, with the items renumbered."""
        if kept.all():
            return self
        renamed = Exemplars(renumbered(kept)[self.items], self.offsets)
        gone = np.concatenate([np.zeros(1, np.int64), np.cumsum(renamed.items == PADDING)])
        whole = gone[self.offsets[1:]] == gone[self.offsets[:-1]]
        return Exemplars.of(renamed.samples().take(np.flatnonzero(whole)))

    def samples(self) -> Samples:
        """Return the exemplars as samples to train on."""
        return Samples(self.items, self.offsets[:-1], self.offsets[1:] - 1)


def allocate_exemplars(inputs: AllocationInputs) -> Int64:
    """Allocate exemplars to items in proportion to weights: their counts as labels.

    One multinomial draw, as in the authors' code: the sum is `total` exactly. Exemplars that an
    item has no candidates for are not allocated to others.
    """
    return inputs.rng.multinomial(inputs.total, inputs.weights / inputs.weights.sum())


def allocate_within(inputs: AllocationInputs) -> Int64:
    """Allocate exemplars in proportion to weights, never more to an item than it has candidates.

    Nothing is drawn: a block of few clicks replaces few exemplars. With every draw, many of the
    items with one exemplar lose it, so that a hundred small blocks would replace most of them.

    >>> weights, available = np.array([0.0, 1.0, 3.0]), np.array([0, 5, 4])
    >>> allocate_within(AllocationInputs(weights, available, 6, np.random.default_rng()))
    array([0, 2, 4])
    """
    weights, available, total = inputs.weights, inputs.available, inputs.total
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


def allocate_equally(inputs: AllocationInputs) -> Int64:
    """Allocate as many exemplars to each known item as to every other: ADER-equal.

    As in the authors' code (``equal_exemplar``), exemplars that an item has no candidates for are
    not allocated to others.
    """
    alike = np.ones(len(inputs.weights))
    alike[PADDING] = 0
    return inputs.rng.multinomial(inputs.total, alike / alike.sum())


def by_herding(inputs: SelectionInputs) -> Int64:
    """Choose those whose mean representation follows their label's mean."""
    represented = represent_samples(inputs.model, inputs.candidates, inputs.between)
    return herd(represented, inputs.candidates.labels, inputs.quotas, inputs.between)


def at_random(inputs: SelectionInputs) -> Int64:
    """Draw without replacement among those of a label: ER-random."""
    order = inputs.rng.permutation(len(inputs.candidates))
    return first_of_each_label(order, inputs.candidates.labels, inputs.quotas)


def by_loss(inputs: SelectionInputs) -> Int64:
    """Choose those of a label that the model predicts best: ER-loss (paper, section 4.4).

    The authors' code sorts the *mean* loss of a label's candidates, a single number, and so keeps
    one candidate of an item, the first one; here each has its own loss, as in the paper.
    """
    losses = sample_losses(inputs.model, inputs.candidates, inputs.between)
    order = np.argsort(losses, kind="stable")
    return first_of_each_label(order, inputs.candidates.labels, inputs.quotas)


def choose_only_where_needed(choose: Choose) -> Choose:
    """Take every candidate of an item that may have them all, and choose among the others'.

    Herding may choose one candidate twice and stops before it has all of them (`HERDING_SLACK`),
    so that every small block would lose exemplars without a replacement.
    """

    def chosen(inputs: SelectionInputs) -> Int64:
        labels, quotas = inputs.candidates.labels, inputs.quotas
        counts = np.bincount(labels, minlength=len(quotas))
        is_whole = (quotas >= counts)[labels]
        whole, rest = np.flatnonzero(is_whole), np.flatnonzero(~is_whole)
        if not len(rest):
            return whole
        picked = choose(replace(inputs, candidates=inputs.candidates.take(rest)))
        return np.concatenate([whole, rest[picked]])

    return chosen


@dataclass(frozen=True, slots=True)
class Allocation:
    """How a recipe allocates exemplars.

    Parameters
    ----------
    allocate
        How many each item gets.
    adapt
        Returns the choice that goes with it, from a method's.
    """

    allocate: Allocate
    adapt: Callable[[Choose], Choose]


ALLOCATIONS = {
    "drawn": Allocation(allocate_exemplars, lambda choose: choose),
    "within": Allocation(allocate_within, choose_only_where_needed),
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
    """Allocate exemplars to items, and choose them.

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
        See `SelectionInputs`.
    power
        Exponent of the counts that exemplars are allocated by.
    """
    if not total:
        return Exemplars.none()
    labels = candidates.labels
    counts = np.bincount(labels, minlength=model.n_items + 1)
    weights = np.where(counts, counts.astype(np.float64) ** power, 0.0)
    quotas = allocate(AllocationInputs(weights, counts, total, rng))
    wanted = candidates.take(np.flatnonzero(quotas[labels]))
    if not len(wanted):
        return Exemplars.none()
    rows = choose(SelectionInputs(model, wanted, quotas, rng, between))
    return Exemplars.of(wanted.take(rows))


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
    """Return the cross-entropy of every sample's own label over all known items: (S,)."""
    losses = np.zeros(len(samples), dtype=np.float32)
    table = model.item_table()
    for rows in by_length(samples.lengths, chunk_rows(model)):
        batch = pack(samples, rows, model.device)
        scores = model(batch.inputs) @ table.T  # (B, I)
        own = functional.cross_entropy(scores, batch.targets - 1, reduction="none")
        losses[rows] = own.numpy(force=True)
        between()
    return losses
