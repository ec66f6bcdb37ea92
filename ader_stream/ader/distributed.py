"""Several processes that train one model together (``torchrun``).

Every process holds the whole model, takes its share of each batch, and adds its gradients to the
others' before the optimizer's step; all then hold the same weights. The item table is replicated,
not cut among them: one inference worker has to hold it whole in any case, its gradient is one
message a step, and the softmax over it stays what it is with one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.device import CPU


@dataclass(frozen=True, slots=True)
class Workers:
    """One process among those that train together.

    Parameters
    ----------
    rank
        Its number, from 0.
    count
        How many there are.
    device
        What it computes on: all alike CPUs, or each its own GPU.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to people."""
        return self.rank == 0

    def share(self, rows: Int64) -> tuple[Int64, float]:
        """Return this process's rows of a batch, and their weight in the batch's mean.

        A batch of fewer rows than processes is everybody's, at an equal part.

        >>> import numpy as np
        >>> Workers(rank=1, count=2).share(np.arange(5))
        (array([1, 3]), 0.4)
        """
        if len(rows) < self.count:
            return rows, 1 / self.count
        mine = rows[self.rank :: self.count]
        return mine, len(mine) / len(rows)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Add the other processes' tensors to these, in place."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def add_up_gradients(self, model: nn.Module) -> None:
        """Add the other processes' gradients to the model's."""
        self.add_up(weight.grad for weight in model.parameters() if weight.grad is not None)


ALONE = Workers()

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
"""What adds up the tensors of a device."""


@contextmanager
def joined(device: torch.device = CPU) -> Iterator[Workers]:
    """Join the processes that ``torchrun`` has started together, and leave them in the end."""
    if not distributed.is_torchelastic_launched():
        yield Workers(device=device)
        return
    distributed.init_process_group(BACKENDS[device.type])
    try:
        yield Workers(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
