"""Few items that stand for all: what a sampled softmax is taken over.

B sessions, K items drawn for all of them, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEFT_OUT = -1e30
"""A score without any probability. Not -inf, which times a probability of 0 is NaN."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Each session's own next item, and items drawn for all sessions alike.

    Parameters
    ----------
    own
        Columns of the sessions' next items (B,).
    drawn
        Columns drawn (K,), each once.
    log_expected
        Logarithm of how often each candidate was to be expected among the drawn (B, 1 + K): what
        is drawn often stands for fewer others (logQ correction; Jean, Cho, Memisevic, Bengio,
        ACL 2015, arXiv 1412.2007).
    left_out
        Candidates that are no choice (B, 1 + K): drawn, but the session's own anyway; or beyond
        what the softmax is over.
    """

    own: Tensor
    drawn: Tensor
    log_expected: Tensor
    left_out: Tensor

    def scores(self, sessions: Tensor, own: Tensor, drawn: Tensor) -> Tensor:
        """Score the candidates (B, 1 + K), corrected, the session's own first.

        Parameters
        ----------
        sessions
            Session representations (B, D).
        own, drawn
            Rows of the output layer (B, D) and (K, D).
        """
        first = torch.linalg.vecdot(sessions, own)[:, None]  # (B, 1)
        scores = torch.cat([first, sessions @ drawn.T], 1) - self.log_expected.to(sessions.dtype)
        return scores.masked_fill(self.left_out, LEFT_OUT)
