"""Return freed memory to the operating system."""

from __future__ import annotations

import ctypes
import platform

LARGE_BYTES = 2**20
"""The scores of a list over a catalogue of 100,000 are below it, a version's tensors above it."""

M_MMAP_THRESHOLD = -3
"""glibc's number for the size from which blocks are mapped one by one (``malloc.h``)."""


def give_back_large_blocks() -> None:
    """Make the C library map each large block separately, so that it is returned when it is freed.

    By itself, glibc raises that limit to the size of the largest block that was ever freed. All
    later blocks, tensors and fetched records, are then in one heap for each thread. They are
    between blocks that stay in use, so most of such a heap is never returned. Other C libraries are
    not changed. It is for processes that swap versions: one that trains would map its buffers at
    every step.
    """
    if _is_glibc():
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back_freed() -> None:
    """Make the C library return every page without data.

    It is for processes that train, between two cycles: the freed blocks of a cycle are between
    blocks that stay in use, and the next cycle, with other sizes, would request more memory.
    """
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
