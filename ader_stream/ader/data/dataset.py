"""From sessions to batches: the sub-sequence split, random batches, packing.

A session of n clicks gives n − 1 sub-sequences: every click but the first is the target
of the clicks before it. None of them is copied: a sub-sequence is two positions in one flat
array of clicks, and a batch is cut out of that array at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ader_stream.ader.data.arrays import Int32, Int64
from ader_stream.ader.data.vocabulary import PADDING
from ader_stream.ader.device import CPU
from ader_stream.errors import InputError

Sessions = Collection[Sequence[str]]
"""Item ids in order of clicks, for each session; iterated more than once."""

LENGTHS = (1, 2, 4, 8, 16)
"""Inputs up to each of these lengths, and longer ones, are padded separately: a piece costs a call
of the attention, a padded position as much as a click."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Sub-sequences of S targets over a flat array of N item indices.

    Sample s has the input ``items[starts[s]:targets[s]]`` and the target ``items[targets[s]]``.

    Parameters
    ----------
    items
        Item indices (N,).
    starts, targets
        Positions in `items` (S,).
    """

    items: Int32
    starts: Int64
    targets: Int64

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> Int64:
        """Input lengths (S,)."""
        return self.targets - self.starts

    @property
    def labels(self) -> Int32:
        """Target items (S,)."""
        return self.items[self.targets]

    def take(self, rows: Int64) -> Samples:
        """Take the samples at `rows`; the clicks stay shared."""
        return Samples(self.items, self.starts[rows], self.targets[rows])

    def within(self, maxlen: int) -> Samples:
        """Cut the inputs to at most `maxlen` clicks; the clicks stay shared."""
        return Samples(self.items, np.maximum(self.starts, self.targets - maxlen), self.targets)

    def __add__(self, other: Samples) -> Samples:
        shift = len(self.items)
        return Samples(
            np.concatenate([self.items, other.items]),
            np.concatenate([self.starts, other.starts + shift]),
            np.concatenate([self.targets, other.targets + shift]),
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs of a model, padded to one length, with their targets.

    Parameters
    ----------
    inputs
        Left-padded item indices (B, T), T the longest input of the batch.
    targets
        Target items (B,).
    """

    inputs: Tensor
    targets: Tensor


def flatten(sequences: Iterable[Sequence[int]]) -> tuple[Int32, Int64]:
    """Lay sequences end to end; also return the offsets (n + 1,) between them."""
    items, offsets = array("i"), array("q", [0])  # 4 and 8 bytes a number, no Python objects
    for sequence in sequences:
        items.extend(sequence)
        offsets.append(len(items))
    return np.array(items, np.int32), np.array(offsets, np.int64)


def split_sessions(sessions: Iterable[Sequence[int]], maxlen: int) -> Samples:
    """Make every click but a session's first a target (paper, section 4.1).

    >>> samples = split_sessions([[7, 8, 9], [5]], maxlen=50)
    >>> samples.lengths.tolist(), samples.labels.tolist()
    ([1, 2], [8, 9])
    """
    return sub_sequences(*flatten(sessions), maxlen)


def sub_sequences(items: Int32, offsets: Int64, maxlen: int) -> Samples:
    """Split sessions ``items[offsets[s]:offsets[s + 1]]`` as `split_sessions` does."""
    is_target = np.ones(len(items), dtype=np.bool_)
    is_target[offsets[:-1][np.diff(offsets) > 0]] = False  # the first click of each session
    targets = np.flatnonzero(is_target)
    firsts = np.repeat(offsets[:-1], np.maximum(np.diff(offsets) - 1, 0))  # (S,) of their sessions
    return Samples(items, np.maximum(firsts, targets - maxlen), targets)


def hold_out(samples: Samples, share: float, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """Draw training and validation samples; of 1 / (2·share) samples or fewer, none is held out."""
    order = rng.permutation(len(samples))
    training = round(len(samples) * (1 - share))
    return samples.take(order[:training]), samples.take(order[training:])


def left_padded(items: Int32, starts: Int64, ends: Int64) -> Tensor:
    """Cut ``items[start:end]`` of every row, padded on the left to the longest: (B, T)."""
    longest = max(1, int((ends - starts).max()))
    positions = ends[:, None] + np.arange(-longest, 0)  # (B, T)
    inside = positions >= starts[:, None]
    return torch.from_numpy(np.where(inside, items[np.where(inside, positions, 0)], PADDING))


def pack(samples: Samples, rows: Int64, device: torch.device = CPU) -> Batch:
    """Pack the samples at `rows` for a model on a device."""
    batch = samples.take(rows)
    return Batch(
        left_padded(batch.items, batch.starts, batch.targets).to(device, torch.int64),
        torch.from_numpy(batch.labels).to(device, torch.int64),
    )


def pack_prefixes(
    prefixes: Sequence[Sequence[int]], maxlen: int, device: torch.device = CPU
) -> Tensor:
    """Pack the last `maxlen` items of every prefix, left-padded: (B, T)."""
    items, offsets = flatten(prefix[-maxlen:] for prefix in prefixes)
    return left_padded(items, offsets[:-1], offsets[1:]).to(device, torch.int64)


def pack_by_length(samples: Samples, rows: Int64, device: torch.device = CPU) -> list[Batch]:
    """Pack the samples at `rows`, the shortest first, in pieces of similar length."""
    cuts = np.searchsorted(samples.lengths[rows], LENGTHS, side="right")
    return [pack(samples, part, device) for part in np.split(rows, cuts) if len(part)]


def shuffled_batches(lengths: Int64, batch_size: int, rng: np.random.Generator) -> list[Int64]:
    """Cut one pass over all samples into random batches, the shortest first within each."""
    order = rng.permutation(len(lengths))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [rows[np.argsort(lengths[rows], kind="stable")] for rows in batches]


def by_length(lengths: Int64, chunk: int) -> Iterator[Int64]:
    """Yield all rows in chunks, the shortest first."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), chunk):
        yield order[start : start + chunk]


def require_item_ids(sessions: Sessions) -> None:
    """Require sequences of texts; the first session is enough: all of a block are of one kind.

    A text as a session would train on its letters.

    Raises
    ------
    InputError
        Shows the first session.
    """
    first: object = next(iter(sessions), ())
    is_of_texts = isinstance(first, Iterable) and all(isinstance(item, str) for item in first)
    if isinstance(first, str) or not is_of_texts:
        raise InputError(
            f"sessions: the first one is {first!r:.100}; expected item ids as text, oldest first, "
            "as ('sku-1', 'sku-2')"
        )
