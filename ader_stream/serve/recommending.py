"""Rank the top k for a session, and score clicks prequentially, with one version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ader_stream.ader.metrics import count_ranks
from ader_stream.ader.models.ranking import rank_targets, top_k
from ader_stream.serve.loaded_versions import Version
from ader_stream.types import Counts, Recommendation, Target


def recommend(version: Version, sessions: Sequence[Sequence[str]], k: int) -> list[Recommendation]:
    """Return `k` recommended items for each session; unknown items are dropped from it."""
    encoded = [version.vocabulary.encode(items) for items in sessions]
    known = [prefix for prefix in encoded if prefix]
    indices, scores = top_k(version.model, known, k, version.layer) if known else ((), ())
    ranked = iter(zip(indices, scores, strict=True))
    return [
        _ranked(version, *next(ranked)) if prefix else _fallback(version, k) for prefix in encoded
    ]


def score_targets(version: Version, targets: Sequence[Target]) -> Counts:
    """Count hits and reciprocal ranks of clicks with the version.

    An item that the version does not know is neither a target nor part of a prefix. A known item
    without a known click before it is not a target.
    """
    return rank_clicks(version, targets).counts


class Ranked(NamedTuple):
    """Ranks that one version gives to clicks.

    Parameters
    ----------
    places
        Positions of the clicks that it scores (S,).
    ranks
        Their zero-based ranks (S,).
    unknown
        Number of clicks on items that it does not know.
    """

    places: list[int]
    ranks: npt.NDArray[np.int64]
    unknown: int

    @property
    def counts(self) -> Counts:
        """Return the sums over the clicks."""
        return count_ranks(self.ranks) + Counts(unknown=self.unknown)


def rank_clicks(version: Version, targets: Sequence[Target]) -> Ranked:
    """Rank the clicks that a version scores; see `score_targets`."""
    places, prefixes, indices, unknown = [], [], [], 0
    for place, target in enumerate(targets):
        index = version.vocabulary.index(target.item)
        if index is None:
            unknown += 1
        elif prefix := version.vocabulary.encode(target.prefix):
            places.append(place)
            prefixes.append(prefix)
            indices.append(index)
    if not prefixes:
        return Ranked([], np.zeros(0, dtype=np.int64), unknown)
    ranks = rank_targets(version.model, prefixes, indices, version.layer)
    return Ranked(places, ranks, unknown)


def _ranked(
    version: Version, indices: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> Recommendation:
    items = tuple(
        (version.vocabulary.item(int(index)), float(score))
        for index, score in zip(indices, scores, strict=True)
    )
    return Recommendation(version.number, fallback=False, items=items)


def _fallback(version: Version, k: int) -> Recommendation:
    items = tuple((item, 0.0) for item in version.frequent_items[:k])
    return Recommendation(version.number, fallback=True, items=items)
