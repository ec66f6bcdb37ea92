"""Measures of a version besides its recalls: coverage, negative flips, embedding drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.arrays import Bools, Int32, Int64
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.metrics import LIST
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import top_k
from ader_stream.ader.progress import with_progress
from ader_stream.versions.gate.bounds import Share, session_shares

COVERAGE_SAMPLES = 2_000
"""Lists that the coverage is computed over: enough for every item of a catalogue of thousands."""

FLIPPED = 0.25
"""Share of all items: a target that the other one lists and this version ranks behind them is a
negative flip (Yan et al., Positive-Congruent Training, CVPR 2021)."""

DRIFTED = 0.25
"""Cosine with the parent's row below which an item's row has drifted. Rows of two items lie around
0; in sound cycles of recipe `production` a row that its parent knows from exemplars keeps 0.5."""

SETTLED = 0.7
"""Cosine that nine rows in ten must keep. Where more rows turned farther, as when a recipe learns
fast or its parent has learned little, faulty rows cannot be distinguished from sound ones."""


@dataclass(frozen=True)
class Coverage:
    """The share of items that are in some list.

    Parameters
    ----------
    share
        Of all items.
    possible
        The highest possible share: one list for each item that sessions end with.
    """

    share: float
    possible: float


def coverage(model: SessionModel, samples: Samples, between: Callable[[], None]) -> Coverage | None:
    """Return the coverage of the lists of some samples; None without any."""
    if not len(samples):
        return None
    first = samples.take(np.arange(min(COVERAGE_SAMPLES, len(samples))))
    prefixes = [
        first.items[start:target].tolist()
        for start, target in zip(first.starts, first.targets, strict=True)
    ]
    listed, _ = top_k(model, prefixes, LIST, between=between)
    ends = len({prefix[-1] for prefix in prefixes})
    possible = min(1.0, LIST * ends / model.n_items)
    return Coverage(len(np.unique(listed)) / model.n_items, possible)


def negative_flips(
    listed: Bools, ranks: Int64, n_items: int, sessions: Int64, targets: Int32
) -> Share | None:
    """Return the share of targets behind a quarter of all items, of those that another one lists.

    Parameters
    ----------
    listed
        Whether the other one lists the target (S,).
    ranks
        The version's (S,).
    n_items
        In its catalogue.
    sessions, targets
        Of the samples (S,). An item flips for all of its samples, so there are no more trials
        than items.
    """
    if not listed.any():
        return None
    is_behind = ranks[listed] >= max(2 * LIST, FLIPPED * n_items)
    shares = session_shares(is_behind, sessions[listed])
    return Share.of(shares, most=len(np.unique(targets[listed])))


def embedding_drift(parent: State, state: State) -> Share | None:
    """Return the share of rows that have drifted; None where that cannot be determined."""
    if parent.architecture != state.architecture:
        return None
    rows = torch.from_numpy(np.unique(parent.exemplars.samples().labels)).long() - 1
    if not len(rows):
        return None
    then, now = (each.weights["items.weight"][rows] for each in (parent, state))  # (E, D)
    kept = np.nan_to_num(functional.cosine_similarity(then, now).numpy())
    if not np.quantile(kept, 0.1) >= SETTLED:
        return None
    return Share.of((kept < DRIFTED).astype(np.float64))


def still_known(parent: State, state: State, between: Callable[[], None]) -> Bools:
    """Return which of the parent's items a version knows (I,)."""
    row = state.vocabulary.items.row
    known = (row(item) is not None for item in with_progress(parent.vocabulary.items, between))
    return np.fromiter(known, np.bool_, len(parent.vocabulary))


def renamed(parent: State, state: State) -> int:
    """Count the rows of the parent that have another item, or none."""
    then, now = parent.vocabulary.items, state.vocabulary.items
    ends = then.offsets[-1]
    if np.array_equal(then.offsets, now.offsets[: len(then) + 1]) and np.array_equal(
        then.utf8[:ends], now.utf8[:ends]
    ):
        return 0
    same = sum(one == other for one, other in zip(then, now, strict=False))
    return len(then) - same
