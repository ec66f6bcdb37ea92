"""What a process gives back to the system of the memory that it has used."""

from __future__ import annotations

import ctypes
import platform

LARGE_BYTES = 2**20
"""A list's scores over a catalogue of 100,000 stay below it, a version's tensors do not."""

M_MMAP_THRESHOLD = -3
"""glibc's number for the limit from which blocks are mapped one by one (``malloc.h``)."""


def give_back_large_blocks() -> None:
    """Have the C library map each large block on its own, and so give it back when it is freed.

    By itself glibc raises that limit to the largest block that was ever freed. Whatever comes
    later, tensors and the records that a client has fetched ahead, lies in one heap for each thread
    then, between blocks that live on, and most of such a heap stays. Other C libraries are left
    alone. For processes that swap versions: one that trains would map its buffers at every step.
    """
    if _is_glibc():
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back_freed() -> None:
    """Have the C library give back every page that holds nothing any more.

    For processes that train, between two cycles: what a cycle has freed lies between blocks that
    live on, and the next cycle, whose blocks have other sizes, would ask for more beside it.
    """
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
