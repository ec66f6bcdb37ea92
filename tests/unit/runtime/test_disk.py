from __future__ import annotations

import errno
import gc
import os

import numpy as np
import pytest

from ader_stream.errors import SpaceError
from ader_stream.runtime import disk
from ader_stream.runtime.disk import DiskColumn, disk_array


@pytest.mark.parametrize("small_bytes", [0, 1_000])
def test_an_array_is_all_zeros_and_can_be_written(
    small_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "SMALL_BYTES", small_bytes)
    array = disk_array((5, 3), np.float32)
    assert isinstance(array, np.memmap) == (small_bytes == 0)
    assert not array.any()
    array[2:] += 1.5
    assert array.sum() == 3 * 3 * 1.5


def test_a_disk_without_room_is_reported_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "SMALL_BYTES", 0)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(SpaceError, match=r"no room for 24 bytes \(No space left.*TMPDIR"):
        disk_array((3,), np.int64)


def test_a_column_of_nothing_is_empty() -> None:
    assert DiskColumn(np.int64).array().tolist() == []


def test_a_column_is_mapped_not_read() -> None:
    column = DiskColumn(np.int64)
    column.extend(np.arange(1000))
    assert isinstance(column.array(), np.memmap)


def test_a_column_that_is_dropped_closes_its_file_and_leaves_its_array() -> None:
    column = DiskColumn(np.int64)
    column.extend([1, 2])
    array, file = column.array(), column._file
    del column
    gc.collect()
    assert file.closed
    assert array.tolist() == [1, 2]
