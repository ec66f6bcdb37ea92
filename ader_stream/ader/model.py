"""SASRec as ADER uses it: the whole model.

Self-attentive sequential recommendation (Kang and McAuley, ICDM 2018, arXiv 1808.09781) in the
form of ADER's authors: one head without output projection, keys and values without layer norm,
and residuals that start from the *normalised* input. One table of items serves as input
embedding (times √D) and as output layer (Mi, Lin, Faltings, RecSys 2020, section 3.1).

B batch, T length, D width, I items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ader_stream.ader.vocabulary import PADDING

LAYER_NORM_EPSILON = 1e-8  # as in SASRec


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the weights alone do not tell, or what they must agree with.

    Parameters
    ----------
    hidden
        Width D of items and layers.
    blocks
        Self-attention blocks.
    maxlen
        Clicks that the model looks back; older ones are cut.
    """

    hidden: int
    blocks: int
    maxlen: int


class Dropout(nn.Module):
    """Dropout whose mask is 16 random bits an activation: on a CPU several times faster.

    Parameters
    ----------
    share
        Of activations that training sets to zero, in steps of 1 / 65,536.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.threshold = round(share * 2**16) - 2**15

    def forward(self, x: Tensor) -> Tensor:
        """Drop, and scale up what stays, so that the expected sum is the same."""
        if not self.training or not self.share:
            return x
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        bits = words.random_(-(2**63), None).view(torch.int16)[: x.numel()]
        kept = (bits >= self.threshold).view_as(x)
        return x * (kept * (1 / (1 - self.share)))


class Attention(nn.Module):
    """Scaled dot-product attention of one head, added to its queries."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, queries: Tensor, context: Tensor, allowed: Tensor) -> Tensor:
        """Attend from (B, Q, D) to (B, T, D) where `allowed` (B, Q, T): (B, Q, D)."""
        scores = self.query(queries) @ self.key(context).transpose(1, 2)  # (B, Q, T)
        scores = scores / math.sqrt(queries.shape[-1])
        # Not -inf: a padded query is allowed nothing, and must not become NaN.
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(-1))  # (B, Q, T)
        attended: Tensor = weights @ self.value(context)  # (B, Q, D)
        return queries + attended


class FeedForward(nn.Module):
    """Two position-wise layers, added to their input."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position of (B, Q, D) by itself."""
        inner = self.dropout(torch.relu(self.inner(x)))
        outer: Tensor = self.dropout(self.outer(inner))
        return x + outer


class Block(nn.Module):
    """Attention and feed-forward, each behind a layer norm."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.attention = Attention(hidden, dropout)
        self.feed_forward_norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.feed_forward = FeedForward(hidden, dropout)

    def forward(self, queries: Tensor, context: Tensor, allowed: Tensor) -> Tensor:
        """Attend from (B, Q, D) to (B, T, D) where `allowed` (B, Q, T): (B, Q, D)."""
        x = self.attention(self.attention_norm(queries), context, allowed)
        fed: Tensor = self.feed_forward(self.feed_forward_norm(x))
        return fed


def table_rows(inputs: Tensor) -> Tensor:
    """Rows of the item table for item indices; padding reads any row, for it is masked later."""
    return (inputs - 1).clamp_(min=0)


class _LookUp(torch.autograd.Function):
    """The item table, whole and by rows: both gradients meet in one matrix, in place.

    Left to itself, torch would fill a matrix of (I, D) for the few rows looked up and add it to
    the output layer's.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(rows)
        return table.view_as(table), table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        by_table, by_rows = gradients
        return by_table.index_add_(0, ctx.saved_tensors[0], by_rows), None


class SASRec(nn.Module):
    """A session's representation, in the space of its items.

    Parameters
    ----------
    architecture
        Width, depth and length.
    n_items
        Items known: item i is row i − 1 of `items.weight`, and padding has no row.
    dropout
        Share of activations that training drops.
    """

    def __init__(self, architecture: Architecture, n_items: int, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = architecture.hidden
        self.architecture = architecture
        self.items = nn.Embedding(n_items, hidden)
        self.positions = nn.Parameter(torch.zeros(architecture.maxlen, hidden))
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(hidden, dropout) for _ in range(architecture.blocks))
        self.norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)

    @property
    def n_items(self) -> int:
        """Items known."""
        return self.items.num_embeddings

    def forward(self, inputs: Tensor) -> Tensor:
        """Represent sessions (B, D) of item indices (B, T), as `represent` does."""
        return self.represent(self.items.weight[table_rows(inputs)], inputs != PADDING)

    def look_up(self, batches: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Read the item table for a training step: whole, and the rows of the inputs.

        Parameters
        ----------
        batches
            Item indices (B, T) each.

        Returns
        -------
        table, embedded
            The output layer (I, D), and (B, T, D) for each batch.
        """
        rows = [table_rows(inputs) for inputs in batches]
        table, flat = _LookUp.apply(self.items.weight, torch.cat([r.flatten() for r in rows]))
        parts = flat.split([r.numel() for r in rows])
        return table, [p.view(*r.shape, -1) for p, r in zip(parts, rows, strict=True)]

    def represent(self, embedded: Tensor, valid: Tensor) -> Tensor:
        """Represent sessions by their last position.

        Parameters
        ----------
        embedded
            Rows of the item table (B, T, D), padded on the left, T ≤ maxlen. Positions count
            from the right end, so that left padding of any width changes nothing.
        valid
            False at padding (B, T).

        Returns
        -------
        Tensor
            Session representations (B, D).
        """
        length, hidden = valid.shape[1], self.architecture.hidden
        causal = valid.new_ones(length, length).tril()  # (T, T)
        x = embedded * math.sqrt(hidden) + self.positions[-length:]  # (B, T, D)
        x = self.dropout(x) * valid[..., None]
        *inner, last = self.blocks
        for block in inner:
            x = block(x, x, causal & valid[:, None]) * valid[..., None]  # (B, T, D)
        # Only the last position is read, so the last block computes no other.
        x = last(x[:, -1:], x, valid[:, None])  # (B, 1, D)
        session: Tensor = self.norm(x[:, 0])  # (B, D)
        return session

    def item_table(self) -> Tensor:
        """Return the output layer (I, D); column i of the scores belongs to item index i + 1."""
        return self.items.weight

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights but the items as the authors do: Glorot uniform, biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.positions, generator=generator)

    @torch.no_grad()
    def grow(self, n_items: int, generator: torch.Generator, item_bound: float) -> None:
        """Append rows for new items; the old rows stay as they are.

        Parameters
        ----------
        n_items
            Items known afterwards.
        generator
            Source of the new rows.
        item_bound
            New rows are uniform in ±item_bound.
        """
        old = self.items.weight  # (I, D)
        new = old.new_empty(n_items - self.n_items, old.shape[1])
        new.uniform_(-item_bound, item_bound, generator=generator)
        self.items.weight = nn.Parameter(torch.cat([old, new]))
        self.items.num_embeddings = n_items
