"""Herding: which sub-sequences stand for all of their label's (paper, algorithm 2).

Welling, ICML 2009; iCaRL, CVPR 2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ader_stream.ader.dataset import Int32, Int64

Float32 = npt.NDArray[np.float32]

HERDING_SLACK = 1.1
"""Herding may choose one sub-sequence twice; it gives up after this many steps per exemplar
wanted, as the authors' code does, so that slightly fewer than N are kept."""


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
