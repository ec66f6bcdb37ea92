"""Comparison of a version with its parent or a baseline, on the same targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import numpy as np

from ader_stream.ader.data.arrays import Bools, Int64
from ader_stream.stream.model_registry.manifest import GateComparison
from ader_stream.types import percent
from ader_stream.versions.gate.bounds import difference_bounds, session_shares


class ComparisonKind(StrEnum):
    """What a version is compared with, and on which samples."""

    PARENT = "parent"
    """The parent, on those of the block whose items it knows."""

    POPULAR = "popular"
    """The list of the most clicked items, on those of the block that no parent knows."""

    BLOCK = "block"
    """Both together."""

    EXEMPLARS = "exemplars"
    """The parent, on its exemplars."""

    CO_CLICKS = "co-clicks"
    """The clicks of other sessions, on pairs that they tell apart; rates of those, not recalls."""


def compare(
    kind: ComparisonKind, ours: Bools, others: Bools, sessions: Int64
) -> Iterator[GateComparison]:
    """Yield a comparison, if there are any targets.

    Parameters
    ----------
    ours, others
        Which targets either of them lists (S,).
    sessions
        Of the samples (S,).
    """
    if not len(ours):
        return
    gained = session_shares(ours & ~others, sessions)
    lost = session_shares(others & ~ours, sessions)
    gain, loss = 100 * float(gained.mean()), 100 * float(lost.mean())
    bounds = difference_bounds(gain, loss, len(gained))
    yield GateComparison(
        against=kind.value,
        samples=len(ours),
        sessions=len(gained),
        recall20=percent(int(np.count_nonzero(ours)), len(ours)),
        other_recall20=percent(int(np.count_nonzero(others)), len(others)),
        gain=gain - loss,
        gain_low=bounds.low,
        gain_high=bounds.high,
    )


def find_comparison(
    comparisons: Sequence[GateComparison], kind: ComparisonKind
) -> GateComparison | None:
    """Return the comparison of this kind; None where there is none."""
    return next((each for each in comparisons if each.against == kind.value), None)
