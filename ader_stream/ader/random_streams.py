"""The random numbers of an update cycle: one generator each for its draws, weights and dropout."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.errors import InputError


@dataclass(frozen=True, eq=False)
class RandomStreams:
    """Independent sources of random numbers, all of which follow from the seed.

    Parameters
    ----------
    order
        Draws what is held out, the order of batches, and exemplars.
    weights
        Draws the first weights of a model and of new items; a generator of the CPU.
    dropout
        Seed of torch's global generator, which draws dropout; another one in each process.
    """

    order: np.random.Generator
    weights: torch.Generator
    dropout: int

    @classmethod
    def of(cls, seed: int, parent: State, rank: int = 0) -> RandomStreams:
        """Return the streams of the cycle that follows a version.

        The seed alone would give every cycle of a chain the same numbers: new rows of the item
        table would start where the first items started. So the parent's steps and items count
        as well.

        Parameters
        ----------
        seed
            Not negative.
        parent
            An untrained state for the first cycle.
        rank
            Number of this process, from 0.

        Raises
        ------
        InputError
            The seed is no whole number, or negative.
        """
        if not isinstance(seed, Integral) or seed < 0:
            raise InputError(f"seed = {seed!r}: expected a whole number from 0 on")
        entropy = np.random.SeedSequence([seed, parent.steps, len(parent.vocabulary)])
        order, weights, dropout = entropy.generate_state(3, np.uint64).tolist()
        return cls(
            np.random.default_rng(order),
            torch.Generator().manual_seed(weights),
            (dropout + rank) % 2**64,
        )
