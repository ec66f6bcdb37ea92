"""Memory for matrices that are computed in every step."""

from __future__ import annotations

import torch
from torch import Tensor


class MatrixBuffer:
    """One matrix at a time, in memory that grows and is never freed.

    A matrix of sessions by items is larger than the blocks that the C library reuses: allocated in
    every step, its pages would be mapped and zeroed by the kernel each time, which costs more
    than the product that fills them.

    Parameters
    ----------
    dtype
        Of the matrix.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._memory = torch.empty(0, dtype=dtype)

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Return left @ right (B, I); the result of the last call is overwritten."""
        shape = len(left), right.shape[1]
        size = shape[0] * shape[1]
        if self._memory.numel() < size or self._memory.device != left.device:
            self._memory = torch.empty(size, dtype=self.dtype, device=left.device)
        return torch.mm(left, right, out=self._memory[:size].view(shape))
