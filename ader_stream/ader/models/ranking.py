"""Ranks and top-k lists: always float32, always over all known items.

Equal scores are ordered by item index, the lower first: the same in ranks and lists, and
whatever the target is. A score that is not a number ranks last: such a target is in no list,
however few items there are, and such an item comes behind every number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ader_stream.ader.data.arrays import Float32, Int32, Int64
from ader_stream.ader.data.dataset import Samples, by_length, flatten, pack, pack_prefixes
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.progress import no_progress
from ader_stream.errors import InputError

CHUNK_SCORES = 2**23
"""Scores held at a time: 32 MiB of float32."""


UNRANKED = 2**31 - 1
"""Rank of a target whose score is not a number: beyond every list."""


def ranks_of(scores: Tensor, targets: Tensor) -> Tensor:
    """Rank target items (B,), indices 1 … I, in scores (B, I): zero-based (B,).

    >>> ranks_of(torch.tensor([[0.5, 0.9, 0.5]]), torch.tensor([3]))
    tensor([2])
    >>> ranks_of(torch.tensor([[0.5, torch.nan]]), torch.tensor([2])).item() == UNRANKED
    True
    """
    columns = (targets - 1)[:, None]  # (B, 1)
    own = scores.gather(1, columns)  # (B, 1)
    ranks = (scores > own).sum(1)
    tied = (scores == own).sum(1) > 1
    if tied.any():
        before = torch.arange(scores.shape[1], device=scores.device) < columns[tied]
        ranks[tied] += ((scores[tied] == own[tied]) & before).sum(1)
    return ranks.masked_fill_(own[:, 0].isnan(), UNRANKED)


def best_of(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k best columns (B, k) of scores (B, I) and their scores, best first."""
    k = min(k, scores.shape[1])
    values, columns = scores.topk(k)
    if values[:, :1].isnan().any():  # topk takes NaN for the largest of all
        scores = scores.nan_to_num(-torch.inf, torch.inf, -torch.inf)
        values, columns = scores.topk(k)
    columns, order = columns.sort(1)
    values, rank = values.gather(1, order).sort(stable=True, dim=1, descending=True)
    columns = columns.gather(1, rank)
    # Where a tie straddles the end of the list, topk is free to take any: sort those fully.
    straddling = (scores >= values[:, -1:]).sum(1) > k
    if straddling.any():
        full, order = scores[straddling].sort(stable=True, dim=1, descending=True)
        values[straddling], columns[straddling] = full[:, :k], order[:, :k]
    return columns, values


def rank_samples(
    model: SessionModel,
    samples: Samples,
    between: Callable[[], None] = no_progress,
    layer: Tensor | None = None,
) -> Int64:
    """Rank the samples' targets: zero-based (S,); `between` is called after every chunk."""
    ranks: Int64 = rank_items(model, samples, samples.labels[None], between, layer)[0]
    return ranks


@torch.no_grad()
def rank_items(
    model: SessionModel,
    samples: Samples,
    items: Int32,
    between: Callable[[], None] = no_progress,
    layer: Tensor | None = None,
) -> Int64:
    """Rank K items after each sample's clicks, whatever its target is.

    Parameters
    ----------
    model
        In eval mode.
    samples
        Whose clicks are read.
    items
        Item indices (K, S).
    between
        Called after every chunk.
    layer
        What `model.ranked_table` has returned, where it is at hand.

    Returns
    -------
    numpy.ndarray
        Zero-based ranks (K, S).
    """
    samples = samples.within(model.architecture.maxlen)
    ranks = np.zeros(items.shape, dtype=np.int64)
    layer = model.ranked_table() if layer is None else layer
    for rows in by_length(samples.lengths, chunk_rows(model)):
        scores = model.scores(pack(samples, rows, model.device).inputs, layer)
        for each, ranked in zip(items[:, rows], ranks, strict=True):
            targets = torch.from_numpy(each).to(model.device, torch.int64)
            ranked[rows] = ranks_of(scores, targets).numpy(force=True)
        between()
    return ranks


def rank_targets(
    model: SessionModel,
    prefixes: Sequence[Sequence[int]],
    targets: Sequence[int],
    layer: Tensor | None = None,
) -> Int64:
    """Rank each target among all known items, given the clicks before it.

    Parameters
    ----------
    model
        In eval mode.
    prefixes
        Known item indices, oldest first, none of them empty; the last maxlen count.
    targets
        One item index a prefix, 1 … I.
    layer
        What `model.ranked_table` has returned, where it is at hand.

    Returns
    -------
    numpy.ndarray
        Zero-based ranks (B,): the number of items with a better score, or an equal one and a
        lower index.
    """
    _require_clicks(prefixes)
    sequences = [[*prefix, target] for prefix, target in zip(prefixes, targets, strict=True)]
    items, offsets = flatten(sequences)
    ends = offsets[1:] - 1
    starts = np.maximum(offsets[:-1], ends - model.architecture.maxlen)
    return rank_samples(model, Samples(items, starts, ends), layer=layer)


@torch.no_grad()
def top_k(
    model: SessionModel,
    prefixes: Sequence[Sequence[int]],
    k: int,
    layer: Tensor | None = None,
    between: Callable[[], None] = no_progress,
) -> tuple[Int64, Float32]:
    """List the k best items after each prefix.

    Parameters
    ----------
    model
        In eval mode.
    prefixes
        Known item indices, oldest first, none of them empty; the last maxlen count.
    k
        Length of the lists; all known items where there are fewer.
    layer
        What `model.ranked_table` has returned, where it is at hand.
    between
        Called after every chunk.

    Returns
    -------
    indices, scores
        Item indices and their scores (B, k), best first.
    """
    _require_clicks(prefixes)
    k = min(k, model.n_items)
    indices = np.zeros((len(prefixes), k), dtype=np.int64)
    scores = np.zeros((len(prefixes), k), dtype=np.float32)
    layer = model.ranked_table() if layer is None else layer
    for rows in _chunks(len(prefixes), chunk_rows(model)):
        inputs = pack_prefixes(prefixes[rows], model.architecture.maxlen, model.device)
        columns, values = best_of(model.scores(inputs, layer), k)
        indices[rows] = columns.numpy(force=True) + 1
        scores[rows] = values.numpy(force=True)
        between()
    return indices, scores


def chunk_rows(model: SessionModel) -> int:
    """Samples that are scored against all items at a time."""
    return max(1, CHUNK_SCORES // model.n_items)


def _chunks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)


def _require_clicks(prefixes: Sequence[Sequence[int]]) -> None:
    for number, prefix in enumerate(prefixes):
        if not len(prefix):
            raise InputError(f"prefix {number} has no known item: there is no session to score")
