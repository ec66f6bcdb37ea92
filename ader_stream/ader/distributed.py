"""Several processes that train one model together (``torchrun``).

Every process (rank) has the whole model, takes its share of each batch, and adds its gradients to
the others' before the optimizer's step; all then have the same weights. The item table is
replicated, not sharded: one inference worker has to hold it whole in any case, its gradient is one
message a step, and the softmax over it is the same as with one process.
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
class ProcessGroup:
    """The processes that train together, seen from one of them.

    Parameters
    ----------
    rank
        Number of this process, from 0.
    count
        How many there are.
    device
        Where this process computes: on a CPU like all others, or on a GPU of its own.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and the terminal output."""
        return self.rank == 0

    def share(self, rows: Int64) -> tuple[Int64, float]:
        """Return this process's rows of a batch, and their weight in the batch's mean.

        A batch of fewer rows than processes goes to all of them, with equal weights.

        >>> import numpy as np
        >>> ProcessGroup(rank=1, count=2).share(np.arange(5))
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


SINGLE_PROCESS = ProcessGroup()

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
"""Backends of torch.distributed, by device."""


@contextmanager
def join_process_group(device: torch.device = CPU) -> Iterator[ProcessGroup]:
    """Join the process group that ``torchrun`` started, and leave it at the end."""
    if not distributed.is_torchelastic_launched():
        yield ProcessGroup(device=device)
        return
    distributed.init_process_group(BACKENDS[device.type])
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
