"""What is counted or fitted, weighed by how many clicks speak for it.

Blocks may be of any size, so they are no measure: what is known fades by the clicks that have come
since, each block adds its own clicks to it, and a value is left for another only where enough of
them speak for that. The same clicks come to the same counts however they are cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ader_stream.ader.data.arrays import Float64, Int64

HELD = 5.0
"""Targets ranked first by which another value has to be ahead of the parent's: by chance alone, a
few sessions speak for one by two or three."""


@dataclass(frozen=True, slots=True)
class Fading:
    """How clicks lose weight.

    Parameters
    ----------
    half_life
        Clicks after which a click counts half.
    """

    half_life: float

    def kept(self, since: int) -> float:
        """Return what is left of a click after so many more.

        >>> Fading(100).kept(200)
        0.25
        """
        return float(0.5 ** (since / self.half_life))

    def weights(self, since: Int64) -> Float64:
        """Return what is left of each click after so many more (N,)."""
        weights: Float64 = 0.5 ** (since / self.half_life)
        return weights


@dataclass(frozen=True, slots=True)
class Ranked:
    """What was ranked of a block to fit a value by.

    Parameters
    ----------
    known
        What is left of the evidence known before.
    share
        Targets of the block that each ranked one stands for.
    """

    known: float = 1.0
    share: float = 1.0

    @classmethod
    def of(cls, ranked: int, targets: int, fading: Fading) -> Ranked:
        """Let some of a block's targets stand for all of them."""
        return cls(fading.kept(targets), targets / max(1, ranked))

    def add(self, evidence: Tensor, merits: Tensor) -> Tensor:
        """Add what candidates have come to in this block to what they came to before (C,)."""
        return self.known * evidence + self.share * merits.to(evidence)


def best_candidate(candidates: Tensor, evidence: Tensor, held: float) -> Tensor:
    """Return the candidate of the most evidence; the one held now, unless it is clearly behind.

    Parameters
    ----------
    candidates
        Values (C,).
    evidence
        What speaks for each, in targets ranked first (C,).
    held
        The value now: the nearest candidate is ahead by `HELD`.

    >>> values = torch.tensor([0.0, 1.0])
    >>> best_candidate(values, torch.tensor([9.0, 6.0]), held=1.0).item()
    1.0
    """
    ahead = torch.zeros_like(evidence)
    ahead[(candidates - held).abs().argmin()] = HELD
    return candidates[(evidence + ahead).argmax()]
