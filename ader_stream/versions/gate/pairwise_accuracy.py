"""Pairwise accuracy: how often a model ranks what a session clicked next before what another did.

Both were clicked, so popular items are as often the one as the other. Without knowledge of which
items go together, the order is chance: a model with permuted rows is right half the time. So is,
where visitors click at random, a model that was not trained on the session itself; co-clicks of the
other sessions, and the parent, are measured for that case. Items that a session has clicked before
are left out: repeat clicks do not depend on the items.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ader_stream.ader.data.arrays import Int32, Int64
from ader_stream.ader.data.dataset import Samples
from ader_stream.versions.gate.baselines import clicks_of, rows_by_session
from ader_stream.versions.gate.bounds import ALMOST_SURE, Share, session_shares, sessions_of

CHANCE = 50.0
"""Percent of pairs that are ranked in the right order by chance."""


@dataclass(frozen=True, eq=False)
class TargetPairs:
    """Samples, each with a target of another session.

    Parameters
    ----------
    others
        The item that another session clicked next; the sample's own target where there is none
        (S,).
    sessions, strangers
        The sample's session, and the other item's (S,).
    """

    others: Int32
    sessions: Int64
    strangers: Int64

    def among(self, samples: Samples, n_items: int) -> Int32:
        """Return the other items (S,), without those beyond the first `n_items`."""
        return np.where(self.others <= n_items, self.others, samples.labels)


def draw_pairs(samples: Samples) -> TargetPairs:
    """Draw another session for each sample, and one of its targets; the same for the same samples.

    >>> from ader_stream.ader.data.dataset import split_sessions
    >>> draw_pairs(split_sessions([[7, 8], [5, 6], [3, 3]], maxlen=9)).others.tolist()
    [6, 8, 3]
    """
    rng, sessions, labels = (
        np.random.default_rng(len(samples)),
        sessions_of(samples),
        samples.labels,
    )
    new = np.array([_is_new(samples, row, row) for row in range(len(samples))], np.bool_)
    found = [rows[new[rows]] for rows in rows_by_session(samples) if new[rows].any()]
    others, strangers = labels.copy(), sessions.copy()
    for place, rows in enumerate(found if len(found) > 1 else []):
        for row in rows.tolist():
            drawn = found[(place + rng.integers(1, len(found))) % len(found)]
            other = int(drawn[rng.integers(len(drawn))])
            # Either way: what is new to two sessions is less popular than what is new to one.
            if _is_new(samples, row, other) and _is_new(samples, other, row):
                others[row], strangers[row] = labels[other], sessions[other]
    return TargetPairs(others, sessions, strangers)


def _is_new(samples: Samples, row: int, other: int) -> bool:
    """Return whether a sample's target is not among the inputs of another sample."""
    read = samples.items[samples.starts[other] : samples.targets[other]]
    return samples.items[samples.targets[row]] not in read


def count_co_clicks(samples: Samples, pairs: TargetPairs, between: Callable[[], None]) -> Int64:
    """Count the other sessions that clicked an item of a pair and the sample's last click (2, S).

    Neither of the two sessions of a pair counts. `between` is called after every session.

    >>> from ader_stream.ader.data.dataset import split_sessions
    >>> samples = split_sessions([[7, 8], [8, 7], [5, 6]], maxlen=9)
    >>> count_co_clicks(samples, draw_pairs(samples), lambda: None).sum(1).tolist()
    [2, 0]
    """
    holders: defaultdict[int, set[int]] = defaultdict(set)
    groups = rows_by_session(samples)
    for rows in groups:
        for item in clicks_of(samples, rows):
            holders[item].add(int(pairs.sessions[rows[0]]))
    counts = np.zeros((2, len(samples)), np.int64)
    for rows in groups:
        for row in rows.tolist():
            last = holders[int(samples.items[samples.targets[row] - 1])]
            theirs = {int(pairs.sessions[row]), int(pairs.strangers[row])}
            for each, items in zip(counts, (samples.labels, pairs.others), strict=True):
                each[row] = len((last & holders[int(items[row])]) - theirs)
        between()
    return counts


def pairwise_accuracy(scores: Int64, sessions: Int64) -> Share | None:
    """Return the share of pairs with a higher score of the sample's target, of those that differ.

    Parameters
    ----------
    scores
        Of the targets and of the other items (2, S).
    sessions
        Of the samples (S,).

    >>> pairwise_accuracy(np.array([[3, 1, 0], [1, 2, 0]]), np.array([0, 1, 2])).percent
    50.0
    """
    differ = scores[0] != scores[1]
    shares = session_shares(scores[0, differ] > scores[1, differ], sessions[differ])
    return Share.of(shares, confidence=ALMOST_SURE)


@dataclass(frozen=True)
class PairwiseAccuracy:
    """Percent of pairs in the right order, of those without a tie.

    Parameters
    ----------
    version
        By the version.
    parent
        By its parent, of the items that it knows.
    co_clicks
        By the number of other sessions that clicked either item and the session's last one.
    held_out
        Whether the version was trained without these samples.
    """

    version: Share | None = None
    parent: Share | None = None
    co_clicks: Share | None = None
    held_out: bool = False

    @property
    def has_learnt(self) -> bool:
        """Whether the version certainly knows more than the popularity of items."""
        return _beats_chance(self.version)

    @property
    def can_be_learnt(self) -> bool:
        """Whether what sessions click next is certainly more than chance."""
        unseen = (self.parent, self.co_clicks, self.version if self.held_out else None)
        return any(map(_beats_chance, unseen))

    @property
    def trials(self) -> int:
        """Sessions that the version's share is of."""
        return self.version.trials if self.version else 0


def _beats_chance(share: Share | None) -> bool:
    return share is not None and share.low > CHANCE
