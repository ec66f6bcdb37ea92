"""Encode many arrays of longs at once, with numpy."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy as np

from ader_stream.stream.avro.encoding import long_bytes

SIX_BYTES = 6
FIRST, LAST = 2**34, 2**41 - 1
"""Numbers that Avro writes in six bytes; as times (ms), those from July 1970 to 2039."""


def each_longs_bytes(arrays: Sequence[array[int]]) -> Iterator[bytes]:
    r"""Yield the longs of each array, without their count.

    >>> [*each_longs_bytes([array("q", [1, 64]), array("q"), array("q", [-1])])]
    [b'\x02\x80\x01', b'', b'\x01']
    """
    every = np.frombuffer(b"".join(arrays), np.int64)
    if len(every) and not (every.min() >= FIRST and every.max() <= LAST):
        for numbers in arrays:
            yield b"".join(map(long_bytes, numbers))
        return
    bits = np.arange(0, 7 * SIX_BYTES, 7)
    septets = ((every << 1)[:, None] >> bits & 127).astype(np.uint8)
    septets[:, :-1] |= 128
    data, begin = septets.tobytes(), 0
    for numbers in arrays:
        end = begin + SIX_BYTES * len(numbers)
        yield data[begin:end]
        begin = end
