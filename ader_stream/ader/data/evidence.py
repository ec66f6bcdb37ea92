"""Evidence for calibrated values: counts of clicks with exponential decay.

Blocks may have any size, so evidence decays by clicks instead of blocks: each block adds its own
clicks, and a value is replaced only where enough of them support another one. The same clicks give
the same counts however they are cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ader_stream.ader.data.arrays import Float64, Int64

ADVANTAGE = 5.0
"""Targets ranked first by which another value must be ahead of the parent's: by chance alone, a few
sessions favour one by two or three."""


@dataclass(frozen=True, slots=True)
class Decay:
    """Exponential decay of the weight of clicks.

    Parameters
    ----------
    half_life
        Clicks after which a click counts half.
    """

    half_life: float

    def kept(self, since: int) -> float:
        """Return the weight of a click after so many later ones.

        >>> Decay(100).kept(200)
        0.25
        """
        return float(0.5 ** (since / self.half_life))

    def weights(self, since: Int64) -> Float64:
        """Return the weight of each click after so many later ones (N,)."""
        weights: Float64 = 0.5 ** (since / self.half_life)
        return weights


@dataclass(frozen=True, slots=True)
class EvidenceWeights:
    """Weights of the earlier evidence, and of a block's sample that was ranked to fit a value.

    Parameters
    ----------
    known
        Remaining weight of earlier evidence.
    share
        Targets of the block that each ranked one stands for.
    """

    known: float = 1.0
    share: float = 1.0

    @classmethod
    def of(cls, ranked: int, targets: int, decay: Decay) -> EvidenceWeights:
        """Return the weights for a sample of `ranked` targets out of a block's."""
        return cls(decay.kept(targets), targets / max(1, ranked))

    def add(self, evidence: Tensor, merits: Tensor) -> Tensor:
        """Add the candidates' merits in this block to the earlier evidence (C,)."""
        return self.known * evidence + self.share * merits.to(evidence)


def best_candidate(candidates: Tensor, evidence: Tensor, current: float) -> Tensor:
    """Return the candidate with the most evidence; the current one unless it is clearly behind.

    Parameters
    ----------
    candidates
        Values (C,).
    evidence
        For each, in targets ranked first (C,).
    current
        The current value: the nearest candidate gets an advantage of `ADVANTAGE`.

    >>> values = torch.tensor([0.0, 1.0])
    >>> best_candidate(values, torch.tensor([9.0, 6.0]), current=1.0).item()
    1.0
    """
    ahead = torch.zeros_like(evidence)
    ahead[(candidates - current).abs().argmin()] = ADVANTAGE
    return candidates[(evidence + ahead).argmax()]
