"""Recall of what needs no training: the most clicked items, and session-kNN.

Session-kNN is that of Jannach and Ludewig, *When Recurrent Neural Networks meet the Neighborhood
for Session-Based Recommendation*, RecSys 2017: the sessions that share most items with the present
one vote for their items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

Session = Sequence[str]
Ints = npt.NDArray[np.int64]
Scorer = Callable[[Ints], npt.NDArray[np.float64]]
Baseline = Callable[[Sequence[Ints], int], Scorer]
"""From sessions of item numbers, and the number of items, to what scores all items."""

LIST = 20
TARGETS = 3_000
"""Clicks of a block that are predicted: their recall has a standard error of 0.9 points at most."""

CANDIDATES = 1_000
NEIGHBOURS = 100
"""Most recent sessions with a common item, and how many of them vote, as in the paper."""


def recall_of(
    baseline: Baseline,
    blocks: Sequence[Sequence[Session]],
    seed: int,
) -> list[float]:
    """Return Recall@20 in percent on each block after the first, from all blocks before it.

    A target that is in no block before is not counted, as in the paper's protocol.

    >>> blocks = [[("a", "b")] * 3, [("a", "b"), ("c", "a")]]
    >>> recall_of(popularity, blocks, seed=0), recall_of(session_knn, blocks, seed=0)
    ([100.0], [100.0])
    """
    return [
        _recall(baseline, [*chain.from_iterable(blocks[:last])], blocks[last], seed)
        for last in range(1, len(blocks))
    ]


def _recall(
    baseline: Baseline,
    known: Sequence[Session],
    tested: Sequence[Session],
    seed: int,
) -> float:
    ids = {item: number for number, item in enumerate(dict.fromkeys(chain.from_iterable(known)))}
    scorer = baseline(list(_encoded(known, ids)), len(ids))
    pairs = [
        (session[:place], session[place])
        for session in _encoded(tested, ids)
        for place in range(1, len(session))
    ]
    order = np.random.default_rng(seed).permutation(len(pairs))[:TARGETS]
    hits = [_is_hit(scorer(pairs[n][0]), int(pairs[n][1])) for n in order]
    return 100 * float(np.mean(hits)) if hits else 0.0


def _encoded(sessions: Sequence[Session], ids: dict[str, int]) -> Iterator[Ints]:
    for session in sessions:
        yield np.array([ids[item] for item in session if item in ids], dtype=np.int64)


def _is_hit(scores: npt.NDArray[np.float64], target: int) -> bool:
    """Return whether fewer than `LIST` items score higher, and the target scores at all."""
    own = scores[target]
    return bool(own > 0 and np.count_nonzero(scores > own) < LIST)


def popularity(sessions: Sequence[Ints], items: int) -> Scorer:
    """Score every item by its clicks."""
    counts = np.bincount(np.concatenate(sessions), minlength=items).astype(np.float64)
    return lambda _prefix: counts


def session_knn(sessions: Sequence[Ints], items: int) -> Scorer:
    """Score items by the cosine similarity of the nearest sessions that hold them."""
    unique = [np.unique(session) for session in sessions]
    lengths = np.array([len(session) for session in unique], dtype=np.float64)
    of_item = _sessions_of_items(unique, items)

    def score(prefix: Ints) -> npt.NDArray[np.float64]:
        mine = np.unique(prefix)
        found = np.concatenate([of_item[item][-CANDIDATES:] for item in mine])
        near, common = np.unique(found, return_counts=True)
        similar = common / np.sqrt(len(mine) * lengths[near])
        best = np.argsort(similar, kind="stable")[-NEIGHBOURS:]
        scores = np.zeros(items)
        for neighbour, weight in zip(near[best], similar[best], strict=True):
            scores[unique[neighbour]] += weight
        return scores

    return score


def _sessions_of_items(sessions: Sequence[Ints], items: int) -> list[Ints]:
    """Return the numbers of the sessions with each item, ascending."""
    numbers = np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])
    flat = np.concatenate(sessions)
    order = np.argsort(flat, kind="stable")
    return np.split(numbers[order], np.searchsorted(flat[order], np.arange(1, items)))
