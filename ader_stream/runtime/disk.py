"""Arrays in files without a name: the kernel drops their pages when memory is short.

The files lie where the system keeps temporary ones (``TMPDIR``), and are gone with their process,
however it ends.
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
"""An array of this size, or a smaller one, is not worth a file."""


def disk_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of zeros, on disk unless it is small; raises SpaceError for want of room."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= SMALL_BYTES:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file, _room_for(size):
        _reserve(file.fileno(), size)
        return np.memmap(file, dtype, mode="r+", shape=shape)


class DiskColumn:
    """Numbers that are appended one after another, and then are an array on disk.

    Parameters
    ----------
    dtype
        Of each number.

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
        """Append numbers; raises SpaceError for want of room."""
        content = np.asarray(values, self._dtype).tobytes()
        with _room_for(len(content)):
            self._file.write(content)
        self._size += len(content)

    def array(self) -> npt.NDArray[Any]:
        """Return all of them; the array outlives its column."""
        with _room_for(self._size):
            self._file.flush()
        if not self._size:  # nothing cannot be mapped
            return np.zeros(0, self._dtype)
        return np.memmap(self._file, self._dtype, mode="r")


def _reserve(file: int, size: int) -> None:
    """Make a file so large, with room on the disk for all of it.

    Without the room, a write through the mapping would end the process.
    """
    if hasattr(os, "posix_fallocate"):  # macOS has none
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
