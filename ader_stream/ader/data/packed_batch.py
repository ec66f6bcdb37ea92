"""A batch of sessions of different lengths, packed with hardly any padding.

Sessions of a similar length are a piece, a matrix (b, t) padded on the left; a batch is several
pieces. Layers that read one position at a time process all N positions of all B sessions at once;
only attention is computed for each piece. So a batch of random lengths costs no more than its
clicks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ader_stream.ader.data.vocabulary import PADDING


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """The inputs of B sessions, N positions in all.

    Parameters
    ----------
    inputs
        Left-padded item indices (b, t), at least one matrix.
    """

    inputs: list[Tensor]

    @cached_property
    def rows(self) -> Tensor:
        """Rows of the item table (N,); padding reads any row, for it is masked later."""
        return (self._flat - 1).clamp_(min=0)

    @cached_property
    def valid(self) -> Tensor:
        """False at padding (N, 1)."""
        return (self._flat != PADDING)[:, None]

    @cached_property
    def ages(self) -> Tensor:
        """Clicks since each position (N,): 0 at a session's last, whatever its padding."""
        return torch.cat(
            [torch.arange(t - 1, -1, -1, device=p.device).repeat(b) for p, b, t in self._shapes()]
        )

    @cached_property
    def last(self) -> Tensor:
        """Each session's last position (B,)."""
        return (self.ages == 0).nonzero()[:, 0]

    def attention_mask(self) -> list[Tensor]:
        """What each session may look at, for each piece (b, 1, t): all of its clicks."""
        return [piece[:, None] != PADDING for piece in self.inputs]

    def causal_mask(self) -> list[Tensor]:
        """What each position may look at, for each piece (b, t, t): itself and what came before."""
        return [
            torch.ones(t, t, dtype=torch.bool, device=piece.device).tril() & seen
            for (piece, _, t), seen in zip(self._shapes(), self.attention_mask(), strict=True)
        ]

    @cached_property
    def _flat(self) -> Tensor:
        return torch.cat([piece.flatten() for piece in self.inputs])

    def _shapes(self) -> list[tuple[Tensor, int, int]]:
        return [(piece, *piece.shape) for piece in self.inputs]
