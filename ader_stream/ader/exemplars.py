"""Exemplars: the few sub-sequences that stand for everything before (paper, section 3.1).

How many an item gets follows its share among the labels; which ones, herding decides
(Welling, ICML 2009; iCaRL, CVPR 2017). They hold item indices only: no key, no user, no time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ader_stream.ader.dataset import Int32, Int64, Samples, by_length, pack
from ader_stream.ader.model import SASRec
from ader_stream.ader.ranking import nothing

Float32 = npt.NDArray[np.float32]

HERDING_SLACK = 1.1
"""Herding may choose one sub-sequence twice; it gives up after this many steps per exemplar
wanted, as the authors' code does, so that slightly fewer than N are kept."""

REPRESENTED_ROWS = 2048
"""Sub-sequences represented at a time."""


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

    def samples(self) -> Samples:
        """Return the exemplars as samples to train on."""
        return Samples(self.items, self.offsets[:-1], self.offsets[1:] - 1)


def allocate_exemplars(counts: Int64, total: int, rng: np.random.Generator) -> Int64:
    """Share `total` exemplars among items, in proportion to their counts as labels.

    One multinomial draw, as in the authors' code: the sum is `total` exactly.

    Parameters
    ----------
    counts
        Candidates per item index (I + 1,), at least one in all.
    total
        N, exemplars to share.
    rng
        Source of the draw.
    """
    return rng.multinomial(total, counts / counts.sum())


def herd(representations: Float32, labels: Int32, quotas: Int64) -> Int64:
    r"""Choose the sub-sequences whose mean follows their label's mean.

    For each label, with d the L2-normalised representations and μ their mean, step after step
    takes argmax_d ⟨w, d⟩ and moves w ← w + μ − d, from w = μ (paper, algorithm 2). All labels
    take their steps together.

    Parameters
    ----------
    representations
        Session representations (S, D).
    labels
        Target items (S,).
    quotas
        Exemplars wanted by item index (I + 1,).

    Returns
    -------
    numpy.ndarray
        The rows chosen, ordered by step, at most min(quota, candidates) of a label.
    """
    rows, sizes, wanted = _grouped(labels, quotas)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    unit = representations[rows]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    means = np.add.reduceat(unit, starts) / sizes[:, None]
    pull = np.einsum("sd,sd->s", unit, np.repeat(means, sizes, axis=0))  # ⟨μ, d⟩
    score = pull.copy()  # ⟨w, d⟩
    chosen = np.zeros(len(rows), dtype=bool)
    taken = np.zeros(len(sizes), dtype=np.int64)
    order = [np.zeros(0, dtype=np.int64)]
    for step in range(int(np.ceil(HERDING_SLACK * wanted[0]))):
        # Labels stand in falling order of quota, so those still at it are a prefix.
        live = int(np.count_nonzero(step < HERDING_SLACK * wanted))
        end = ends[live - 1]
        picks = _segment_argmax(score[:end], starts[:live], sizes[:live])
        new = (taken[:live] < wanted[:live]) & ~chosen[picks]
        chosen[picks[new]] = True
        taken[:live] += new
        order.append(picks[new])
        last = np.repeat(unit[picks], sizes[:live], axis=0)
        score[:end] += pull[:end] - np.einsum("sd,sd->s", unit[:end], last)
    return rows[np.concatenate(order)]


def select_exemplars(
    model: SASRec,
    candidates: Samples,
    total: int,
    rng: np.random.Generator,
    between: Callable[[], None] = nothing,
) -> Exemplars:
    """Allocate, represent and herd.

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
    between
        Called after every chunk of representations.
    """
    if not total:
        return Exemplars.none()
    labels = candidates.labels
    counts = np.bincount(labels, minlength=model.n_items + 1)
    quotas = allocate_exemplars(counts, total, rng)
    wanted = candidates.take(np.flatnonzero(quotas[labels]))
    represented = represent_samples(model, wanted, between)
    return Exemplars.of(wanted.take(herd(represented, wanted.labels, quotas)))


@torch.no_grad()
def represent_samples(
    model: SASRec, samples: Samples, between: Callable[[], None] = nothing
) -> Float32:
    """Represent the samples' inputs: (S, D)."""
    represented = np.zeros((len(samples), model.architecture.hidden), dtype=np.float32)
    for rows in by_length(samples.lengths, REPRESENTED_ROWS):
        represented[rows] = model(pack(samples, rows).inputs).numpy()
        between()
    return represented


def _grouped(labels: Int32, quotas: Int64) -> tuple[Int64, Int64, Int64]:
    """Order rows by label in falling order of quota; also the labels' sizes and what each gives."""
    names, counts = np.unique(labels, return_counts=True)
    wanted = np.minimum(quotas[names], counts)
    by_quota = np.argsort(-wanted, kind="stable")
    place = np.empty_like(by_quota)
    place[by_quota] = np.arange(len(by_quota))
    rows = np.argsort(place[np.searchsorted(names, labels)], kind="stable")
    return rows, counts[by_quota], wanted[by_quota]


def _segment_argmax(values: Float32, starts: Int64, sizes: Int64) -> Int64:
    """Find the first position of each segment's highest value."""
    highest = np.repeat(np.maximum.reduceat(values, starts), sizes)
    positions = np.flatnonzero(values == highest)
    return positions[np.searchsorted(positions, starts)]
