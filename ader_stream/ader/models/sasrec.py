"""SASRec as ADER uses it: the model of recipe `paper`.

Self-attentive sequential recommendation (Kang and McAuley, ICDM 2018, arXiv 1808.09781) in the
form of ADER's authors: one head without output projection, keys and values without layer norm,
and residuals that start from the *normalised* input. One table of items serves as input
embedding (times √D) and as output layer (Mi, Lin, Faltings, RecSys 2020, section 3.1).

B sessions, N positions, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ader_stream.ader.data.packed_batch import PackedBatch
from ader_stream.ader.models.base import NO_DROPOUT, Architecture, DropoutShares, SessionModel
from ader_stream.ader.models.layers import (
    LAYER_NORM_EPSILON,
    Dropout,
    TransformerBlock,
    draw_glorot,
    draw_linear_layers,
)
from ader_stream.errors import SettingsError


class SASRec(SessionModel):
    """A session is the output of self-attention at its last click.

    Parameters
    ----------
    architecture, n_items, dropped
        See `SessionModel`.

    Raises
    ------
    SettingsError
        There is no self-attention block.
    """

    def __init__(
        self, architecture: Architecture, n_items: int, dropped: DropoutShares = NO_DROPOUT
    ) -> None:
        super().__init__(architecture, n_items, dropped)
        if architecture.blocks < 1:
            raise SettingsError(
                "encoder 'sasrec' has 0 blocks: expected at least one; set `blocks`"
            )
        hidden, dropout = architecture.hidden, dropped.activations
        self.positions = nn.Parameter(torch.zeros(architecture.maxlen, hidden))
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(hidden, dropout) for _ in range(architecture.blocks)
        )
        self.norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)

    def represent(self, embedded: Tensor, pieces: PackedBatch) -> Tensor:
        """Represent sessions by their last position (`SessionModel.represent`)."""
        # Counted from the right end. (index_select, for the gradient of an index is slow.)
        positions = self.positions.flip(0).index_select(0, pieces.ages)  # (N, D)
        x = embedded * math.sqrt(self.architecture.hidden) + positions
        x = self.dropout(x) * pieces.valid
        *inner, last = self.blocks
        for block in inner:
            x = block(x, x, pieces.causal_mask()) * pieces.valid  # (N, D)
        # Only the last position is read, so the last block computes no other.
        x = last(x.index_select(0, pieces.last), x, pieces.attention_mask())  # (B, D)
        session: Tensor = self.norm(x)
        return session

    def output_layer(self, table: Tensor) -> Tensor:
        """Score with the item table itself."""
        return table

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights but the items as the authors do: Glorot uniform, biases zero."""
        draw_linear_layers(self, generator)
        draw_glorot(self.positions, generator)
