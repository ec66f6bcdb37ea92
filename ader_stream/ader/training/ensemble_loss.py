"""Several models that share one table's width, learn one by one, and speak together.

The mean of their scores is better than any one's, and it costs nothing but width: the score of the
whole is the product of the whole representations. What teaches the next version is the whole.

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
    """The mean of the members' losses, each of which answers for itself.

    Were the whole compared with the targets instead, a member would learn only what the others
    have left.

    Parameters
    ----------
    members
        M.
    loss
        Compares one member's scores with the targets.
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
        """Compare each member's scores with the targets (`Loss`)."""
        alone = [(self.members * rows).chunk(self.members, 1) for rows in sessions]
        losses = [
            self.loss(own, part, targets, columns)
            for *own, part in zip(*alone, table.chunk(self.members, 1), strict=True)
        ]
        return torch.stack(losses).mean()
