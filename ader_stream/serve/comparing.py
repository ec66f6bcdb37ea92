"""Compare the scores of a canary and of the stable version on the same clicks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ader_stream.ader.metrics import reciprocal_ranks
from ader_stream.paired import GROUPS, PairedCounts, Sums, group_of
from ader_stream.serve.recommending import Ranked
from ader_stream.types import Target

Int64 = npt.NDArray[np.int64]


def compare(stable: Ranked, canary: Ranked, targets: Sequence[Target]) -> PairedCounts:
    """Return sums over the clicks that at least one of two versions scores.

    For the other version such a click is a miss: it cannot recommend an item that it does not know,
    nor rank after a prefix without known items.
    """
    places = sorted({*stable.places, *canary.places})
    ours, theirs = (_reciprocals(ranked, len(targets))[places] for ranked in (stable, canary))
    groups = np.fromiter((group_of(targets[place].key) for place in places), np.int64, len(places))
    hits = (ours > 0).astype(np.int64), (theirs > 0).astype(np.int64)
    differences = np.stack([np.ones_like(ours), hits[1] - hits[0], theirs - ours], axis=1)
    return PairedCounts(
        Sums(len(places), int(hits[0].sum()), int(ours.sum())), _by_group(groups, differences)
    )


def _reciprocals(ranked: Ranked, clicks: int) -> Int64:
    """Return the reciprocal rank of each click, in `RECIPROCAL_UNIT` (C,); 0 is a miss at 20."""
    units = np.zeros(clicks, dtype=np.int64)
    units[ranked.places] = reciprocal_ranks(ranked.ranks)
    return units


def _by_group(groups: Int64, differences: Int64) -> tuple[Sums, ...]:
    """Sum differences (S, 3) by group (S,)."""
    sums = np.zeros((GROUPS, differences.shape[1]), dtype=np.int64)
    np.add.at(sums, groups, differences)
    return tuple(Sums(*row) for row in sums.tolist())
