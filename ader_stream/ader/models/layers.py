"""Layers of session models.

M queries, N positions, D width, all of them in pieces of b sessions (see `packed_batch`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

LAYER_NORM_EPSILON = 1e-8  # as in SASRec


def random_mask(like: Tensor, dropped: float) -> Tensor:
    """Draw 0 with probability `dropped` and else 1, in the shape and type of a tensor.

    16 random bits an element, straight into its type: several times faster on a CPU than
    `torch.bernoulli`, and than by way of booleans.
    """
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device)
    bits = words.random_(-(2**63), None).view(torch.int16)[: like.numel()].view(like.shape)
    return torch.ge(bits, round(dropped * 2**16) - 2**15, out=torch.empty_like(like))


class Dropout(nn.Module):
    """Dropout by `random_mask`.

    Parameters
    ----------
    share
        Of activations that training sets to zero, in steps of 1 / 65,536.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements, and scale up the others, so that the expected sum is the same."""
        if not self.training or not self.share:
            return x
        return x * random_mask(x, self.share).mul_(1 / (1 - self.share))


class Attention(nn.Module):
    """Scaled dot-product attention of one head, added to its queries."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, queries: Tensor, context: Tensor, mask: Sequence[Tensor]) -> Tensor:
        """Attend from (M, D) to (N, D) in each piece, where `mask` (b, q, t) is true: (M, D)."""
        asking = [seen.shape[0] * seen.shape[1] for seen in mask]
        asked = [seen.shape[0] * seen.shape[2] for seen in mask]
        pieces = zip(
            self.query(queries).split(asking),
            self.key(context).split(asked),
            self.value(context).split(asked),
            mask,
            strict=True,
        )
        attended = torch.cat([self._attend(*piece) for piece in pieces])  # (M, D)
        return queries + attended

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        (b, q, t), hidden = seen.shape, queries.shape[-1]
        scores = queries.view(b, q, hidden) @ keys.view(b, t, hidden).transpose(1, 2)  # (b, q, t)
        scores = scores / math.sqrt(hidden)
        # Not -inf: a padded query is allowed nothing, and must not become NaN.
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(-1))  # (b, q, t)
        attended: Tensor = weights @ values.view(b, t, hidden)  # (b, q, D)
        return attended.view(b * q, hidden)


class FeedForward(nn.Module):
    """Two position-wise layers, added to their input."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position of (M, D) by itself."""
        inner = self.dropout(torch.relu(self.inner(x)))
        outer: Tensor = self.dropout(self.outer(inner))
        return x + outer


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each behind a layer norm."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.attention = Attention(hidden, dropout)
        self.feed_forward_norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.feed_forward = FeedForward(hidden, dropout)

    def forward(self, queries: Tensor, context: Tensor, mask: Sequence[Tensor]) -> Tensor:
        """Attend from (M, D) to (N, D) as `Attention` does, and transform: (M, D)."""
        x = self.attention(self.attention_norm(queries), context, mask)
        fed: Tensor = self.feed_forward(self.feed_forward_norm(x))
        return fed


@torch.no_grad()
def draw_glorot(weight: Tensor, generator: torch.Generator) -> None:
    """Draw a weight Glorot uniform, on the CPU: so it is the same on any device."""
    weight.copy_(nn.init.xavier_uniform_(torch.empty(weight.shape), generator=generator))


@torch.no_grad()
def draw_linear_layers(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every linear layer of a model: Glorot uniform, biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            draw_glorot(module.weight, generator)
            nn.init.zeros_(module.bias)
