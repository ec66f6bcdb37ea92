"""Keep arrays in unnamed files: the kernel can drop their pages when memory is short.

The files are where the system keeps temporary ones (``TMPDIR``). They are deleted with their
process, however it ends.
"""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ader_stream.errors import SpaceError

SMALL_BYTES = 2**26
"""Bytes up to which an array stays in memory."""


def disk_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of zeros, on disk unless small; raise SpaceError if the disk is full."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= SMALL_BYTES:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file, _room_for(size):
        _reserve(file.fileno(), size)
        return np.memmap(file, dtype, mode="r+", shape=shape)


class DiskColumn:
    """Appends numbers one after another, and returns them as an array on disk.

    Parameters
    ----------
    dtype
        Type of each number.

    >>> column = DiskColumn(np.int32)
    >>> column.extend([3, 1])
    >>> column.extend([2])
    >>> column.array().tolist()
    [3, 1, 2]
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its column
        weakref.finalize(self, self._file.close)
        self._size = 0

    def extend(self, values: Sequence[int] | npt.NDArray[Any]) -> None:
        """Append numbers; raise SpaceError if the disk is full."""
        content = np.asarray(values, self._dtype).tobytes()
        with _room_for(len(content)):
            self._file.write(content)
        self._size += len(content)

    def array(self) -> npt.NDArray[Any]:
        """Return all numbers; the array remains valid after its column is gone."""
        with _room_for(self._size):
            self._file.flush()
        if not self._size:  # an empty file cannot be mapped
            return np.zeros(0, self._dtype)
        return np.memmap(self._file, self._dtype, mode="r")


def _reserve(file: int, size: int) -> None:
    """Set the size of a file, and allocate all of it on the disk.

    Otherwise, on a full disk, a write through the mapping would kill the process.
    """
    if hasattr(os, "posix_fallocate"):  # macOS does not have it
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpaceError(
            f"{tempfile.gettempdir()} has no room for {size} bytes ({error.strerror}); make some, "
            "or name another folder in TMPDIR"
        ) from None
