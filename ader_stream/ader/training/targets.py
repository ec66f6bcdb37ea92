"""Target distributions over the next item: labels, and the teacher's for distillation.

B sessions, K items drawn for a sampled softmax, D width, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ader_stream.ader.training.matrix_buffer import MatrixBuffer

LEFT_OUT = -1e30
"""A score with probability 0. Not -inf, which times a probability of 0 is NaN."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The items of a sampled softmax: each session's next item, and items drawn for all sessions.

    Parameters
    ----------
    own
        Columns of the sessions' next items (B,).
    sampled
        Columns drawn (K,), each once.
    log_expected
        Logarithm of the expected number of times that each candidate is drawn (B, 1 + K): the logQ
        correction (Jean, Cho, Memisevic, Bengio, ACL 2015, arXiv 1412.2007).
    left_out
        Candidates without probability (B, 1 + K): drawn, but the session's next item; or not among
        the items that the softmax is over.
    """

    own: Tensor
    sampled: Tensor
    log_expected: Tensor
    left_out: Tensor

    def scores(self, sessions: Tensor, own: Tensor, sampled: Tensor) -> Tensor:
        """Score the candidates (B, 1 + K), corrected, the session's own first.

        Parameters
        ----------
        sessions
            Session representations (B, D).
        own, sampled
            Rows of the output layer (B, D) and (K, D).
        """
        first = torch.linalg.vecdot(sessions, own)[:, None]  # (B, 1)
        scores = torch.cat([first, sessions @ sampled.T], 1) - self.log_expected.to(sessions.dtype)
        return scores.masked_fill(self.left_out, LEFT_OUT)


class Target(Protocol):
    """A distribution over the next item, for each of B sessions."""

    @property
    def weight(self) -> float:
        """Weight of the mean loss over these sessions."""

    @property
    def items(self) -> int | None:
        """I': the softmax is over the first I' items of the table; None for all."""

    def expected(self, scores: Tensor, rows: slice) -> Tensor:
        """Return the target's mean of the scores (B, I') of the sessions at `rows`: (B,)."""

    def subtract_from(self, probabilities: Tensor, rows: slice) -> None:
        """Subtract the target's distribution from (B, I') probabilities, in place."""

    def plain(self) -> Tensor:
        """Return the target as an argument of `torch.nn.functional.cross_entropy`."""

    @property
    def labels(self) -> Tensor:
        """The sessions' own next items (B,), 1 … I."""

    def among(self, candidates: Candidates) -> Tensor:
        """Return the target over the candidates, as `plain` does over all items."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The item that was clicked (`Target`).

    Parameters
    ----------
    labels
        Target items (B,), 1 … I.
    weight
        See `Target`.
    """

    labels: Tensor
    weight: float = 1.0
    items: None = None

    def expected(self, scores: Tensor, rows: slice) -> Tensor:
        """Return the labels' scores."""
        return scores.gather(1, self.labels[rows, None] - 1)[:, 0]

    def subtract_from(self, probabilities: Tensor, rows: slice) -> None:
        """Subtract 1 from the labels' probabilities."""
        # Not `scatter_add_`: where the precision is narrow, that copies all probabilities.
        every = torch.arange(len(probabilities), device=probabilities.device)
        probabilities[every, self.labels[rows] - 1] -= 1

    def plain(self) -> Tensor:
        """Return the labels' columns."""
        return self.labels - 1

    def among(self, candidates: Candidates) -> Tensor:
        """Return the first candidate, which is the label."""
        return candidates.own.new_zeros(len(candidates.own))


@dataclass(frozen=True, eq=False)
class DistillationTarget:
    """The teacher's distribution (`Target`): distillation (paper, equation 2).

    Parameters
    ----------
    sessions
        Session representations (B, D), by the teacher.
    table
        The teacher's output layer (I', D); the softmax is over its items.
    labels
        See `Target`.
    buffer
        Memory of the probabilities, until it is used again.
    weight
        See `Target`.
    """

    sessions: Tensor
    table: Tensor
    labels: Tensor
    buffer: MatrixBuffer
    weight: float = 1.0

    @property
    def items(self) -> int:
        """Items that the teacher knows."""
        return len(self.table)

    @cached_property
    def probabilities(self) -> Tensor:
        """The teacher's probabilities of all items that it knows (B, I')."""
        scores = self.buffer.product(self.sessions, self.table.T)
        softmax_(scores)
        return scores

    def expected(self, scores: Tensor, rows: slice) -> Tensor:
        """Return the teacher's mean of the scores."""
        mean: Tensor = torch.linalg.vecdot(self.probabilities[rows].to(scores.dtype), scores)
        return mean

    def subtract_from(self, probabilities: Tensor, rows: slice) -> None:
        """Subtract the teacher's probabilities."""
        probabilities.sub_(self.probabilities[rows])

    def plain(self) -> Tensor:
        """Return the probabilities."""
        return self.probabilities

    def among(self, candidates: Candidates) -> Tensor:
        """Return the teacher's probabilities of the candidates."""
        sampled = candidates.sampled.clamp(max=len(self.table) - 1)  # unknown items are left out
        own, others = self.table[candidates.own], self.table[sampled]
        scores = candidates.scores(self.sessions, own, others)
        return scores.float().softmax(1)


def softmax_(scores: Tensor) -> Tensor:
    """Replace scores (B, I) by their softmax, in place; return log Σ exp of each row (B,).

    >>> scores = torch.tensor([[0.0, 0.0, 0.0]])
    >>> softmax_(scores).exp(), scores
    (tensor([3.]), tensor([[0.3333, 0.3333, 0.3333]]))
    """
    top = scores.amax(1)  # (B,)
    torch.softmax(scores, 1, out=scores)
    wide = torch.promote_types(scores.dtype, torch.float32)
    return top.to(wide) - scores.amax(1).to(wide).log()  # the largest probability is ≥ 1 / I
