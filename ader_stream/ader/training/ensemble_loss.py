"""The loss of an ensemble: several models, each in its part of one table's width.

The mean of their scores is better than any one's, and costs no more than the width: it is the
product of the whole representations. The teacher of the next version is the whole ensemble.

B sessions, D width of all M members together, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ader_stream.ader.training.losses import Loss
from ader_stream.ader.training.targets import Target


@dataclass(frozen=True, eq=False)
class EnsembleLoss:
    """The mean of the members' losses (`losses.Loss`).

    With one loss of the whole ensemble, a member would learn only the residual of the others.

    Parameters
    ----------
    members
        M.
    loss
        Of one member's scores.
    """

    members: int
    loss: Loss

    def columns(self, targets: Sequence[Target]) -> Tensor | None:
        """Return the items that all members score in this step (`Loss.columns`)."""
        return self.loss.columns(targets)

    def __call__(
        self,
        sessions: Sequence[Tensor],
        table: Tensor,
        targets: Sequence[Target],
        columns: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss (`losses.Loss`)."""
        alone = [(self.members * rows).chunk(self.members, 1) for rows in sessions]
        losses = [
            self.loss(own, part, targets, columns)
            for *own, part in zip(*alone, table.chunk(self.members, 1), strict=True)
        ]
        return torch.stack(losses).mean()
