"""Herding: which sub-sequences stand for all of their label's (paper, algorithm 2).

Welling, ICML 2009; iCaRL, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ader_stream.ader.data.arrays import Float32, Int32, Int64
from ader_stream.ader.progress import no_progress
from ader_stream.runtime.disk import disk_array

Floats = npt.NDArray[np.floating]

ROWS_AT_ONCE = 8_192
"""Representations that are copied at a time."""

SHORTEST = np.finfo(np.float32).tiny
"""What is shorter has no direction: it is herded as if it stood at the origin."""

HERDING_SLACK = 1.1
"""Herding may choose one sub-sequence twice; it gives up after this many steps per exemplar
wanted, as the authors' code does, so that slightly fewer than N are kept."""


def herd(
    representations: Float32,
    labels: Int32,
    quotas: Int64,
    between: Callable[[], None] = no_progress,
) -> Int64:
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
    between
        Called after every step.

    Returns
    -------
    numpy.ndarray
        The rows chosen, ordered by step, at most min(quota, candidates) of a label.
    """
    rows, sizes, wanted = _grouped(labels, quotas)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    unit = _unit(representations, rows)
    means = np.add.reduceat(unit, starts) / sizes[:, None]
    owner = np.repeat(np.arange(len(sizes)), sizes)  # (S,) position of each row's label
    pull = _products(unit, means, owner)  # ⟨μ, d⟩
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
        score[:end] += pull[:end] - _products(unit[:end], unit[picks], owner[:end])
        between()
    return rows[np.concatenate(order)]


def _unit(representations: Float32, rows: Int64) -> Float32:
    """Copy the representations at `rows`, each scaled to length 1 (S, D)."""
    unit = disk_array(representations.shape, np.float32)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = representations[rows[first : first + ROWS_AT_ONCE]]
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        unit[first : first + ROWS_AT_ONCE] = part / np.maximum(lengths, SHORTEST)
    return unit


def _products(unit: Float32, vectors: Floats, owner: Int64) -> Floats:
    """Multiply each row (S, D) by its owner's vector (L, D): (S,)."""
    products = np.empty(len(unit), np.result_type(unit, vectors))
    for first in range(0, len(unit), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        np.einsum("sd,sd->s", unit[part], vectors[owner[part]], out=products[part])
    return products


def _grouped(labels: Int32, quotas: Int64) -> tuple[Int64, Int64, Int64]:
    """Order rows by label in falling order of quota; also the labels' sizes and what each gives."""
    names, counts = np.unique(labels, return_counts=True)
    wanted = np.minimum(quotas[names], counts)
    by_quota = np.argsort(-wanted, kind="stable")
    place = np.empty_like(by_quota)
    place[by_quota] = np.arange(len(by_quota))
    rows = np.argsort(place[np.searchsorted(names, labels)], kind="stable")
    return rows, counts[by_quota], wanted[by_quota]


def _segment_argmax(values: Floats, starts: Int64, sizes: Int64) -> Int64:
    """Find the first position of each segment's highest value."""
    highest = np.repeat(np.maximum.reduceat(values, starts), sizes)
    positions = np.flatnonzero(values == highest)
    return positions[np.searchsorted(positions, starts)]
