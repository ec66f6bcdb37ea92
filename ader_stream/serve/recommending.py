"""Rank the top k for a session, and score clicks prequentially, with one version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ader_stream.ader.data.dataset import pack_prefixes
from ader_stream.ader.metrics import count_ranks
from ader_stream.ader.models.ranking import best_of, rank_targets, top_k
from ader_stream.serve.choice import Choice
from ader_stream.serve.loaded_versions import Version
from ader_stream.types import Counts, Recommendation, Target


def recommend(version: Version, sessions: Sequence[Sequence[str]], k: int) -> list[Recommendation]:
    """Return `k` recommended items for each session; unknown items are dropped from it."""
    encoded = [version.vocabulary.encode(items) for items in sessions]
    known = [prefix for prefix in encoded if prefix]
    indices, scores = top_k(version.model, known, k, version.layer) if known else ((), ())
    ranked = iter(zip(indices, scores, strict=True))
    frequent = [(item, 0.0) for item in version.frequent_items[:k]]
    return [
        _ranked(version, *next(ranked)) if prefix else _fallback(version, frequent)
        for prefix in encoded
    ]


def recommend_chosen(
    version: Version, sessions: Sequence[Sequence[str]], k: int, choice: Choice
) -> list[Recommendation]:
    """Return for each session the `k` best items that a list may hold; fewer where fewer may."""
    if choice.is_free:
        return recommend(version, sessions, k)
    return [_chosen(version, session, k, choice) for session in sessions]


def _chosen(version: Version, session: Sequence[str], k: int, choice: Choice) -> Recommendation:
    prefix = version.vocabulary.encode(session)
    if not prefix:
        frequent = choice.filter(version.frequent_items, session)
        return _fallback(version, _not_below(choice, [(item, 0.0) for item in frequent])[:k])
    columns = choice.columns(version.vocabulary, session)
    with torch.no_grad():
        inputs = pack_prefixes([prefix], version.model.architecture.maxlen, version.model.device)
        scores = version.model.scores(inputs, version.layer).cpu()[:, columns]
        places, values = best_of(scores, k)
    indices = columns[places[0]].numpy() + 1
    found = _ranked(version, indices, values[0].numpy())
    return replace(found, items=_not_below(choice, found.items))


def similar(version: Version, item: str, k: int) -> Recommendation | None:
    """Return the `k` items most similar to one, without itself; None if it is unknown.

    The score is the product of their rows in the table that sessions are ranked with: the cosine
    where the encoder scales them to length 1.
    """
    index = version.vocabulary.index(item)
    if index is None:
        return None
    with torch.no_grad():
        scores = (version.layer[index - 1] @ version.layer.T)[None].cpu()
        scores[0, index - 1] = -torch.inf
        places, values = best_of(scores, min(k, scores.shape[1] - 1))
    return _ranked(version, places[0].numpy() + 1, values[0].numpy())


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


def _fallback(version: Version, items: Sequence[tuple[str, float]]) -> Recommendation:
    return Recommendation(version.number, fallback=True, items=tuple(items))


def _not_below(choice: Choice, items: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Return the items whose scores a list may hold."""
    lowest = choice.min_score
    return tuple(pair for pair in items if lowest is None or pair[1] >= lowest)
