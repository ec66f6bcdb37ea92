"""Encode and decode single Avro values: numbers, texts, arrays, maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain


def long_bytes(number: int) -> bytes:
    r"""Encode an int or a long.

    >>> long_bytes(0), long_bytes(-1), long_bytes(64)
    (b'\x00', b'\x01', b'\x80\x01')
    """
    left = number << 1 if number >= 0 else ~(number << 1)
    found = bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    found.append(left)
    return bytes(found)


COUNTS = [long_bytes(count) for count in range(1_001)]


def count_bytes(count: int) -> bytes:
    """Encode a long that is not negative and usually small."""
    return COUNTS[count] if count < len(COUNTS) else long_bytes(count)


def text_bytes(text: str) -> bytes:
    """Encode a string."""
    data = text.encode()
    return count_bytes(len(data)) + data


SHORT_BYTES = 256
"""Most bytes of the string of a short text, its count included."""

_SHORT_COUNTS = COUNTS[: SHORT_BYTES - 1]


def each_text_bytes(texts: Sequence[str]) -> tuple[list[bytes], list[int]]:
    """Return `text_bytes` of many texts, and the positions of those that are not short.

    >>> each_text_bytes(["shoe", "é"]) == ([text_bytes("shoe"), text_bytes("é")], [])
    True
    >>> each_text_bytes(["shoe", "x" * SHORT_BYTES])[1]
    [1]
    """
    try:
        return [_SHORT_COUNTS[len(data)] + data for data in map(str.encode, texts)], []
    except IndexError:
        found = list(map(text_bytes, texts))
        return found, [at for at, data in enumerate(found) if len(data) > SHORT_BYTES]


def texts_in(data: bytes) -> list[str]:
    r"""Return the strings that follow one another.

    >>> texts_in(text_bytes("shoe") + text_bytes("hat"))
    ['shoe', 'hat']
    """
    found, at = [], 0
    while at < len(data):
        length, shift = data[at] & 127, 7
        while data[at] > 127:
            at += 1
            length |= (data[at] & 127) << shift
            shift += 7
        begin = at + 1
        at = begin + (length >> 1)
        found.append(data[begin:at].decode())
    return found


def array_bytes(items: Sequence[bytes]) -> bytes:
    """Encode an array of encoded items."""
    return count_bytes(len(items)) + b"".join(items) + b"\0" if items else b"\0"


def map_bytes(texts: Mapping[str, str]) -> bytes:
    """Encode a map of strings."""
    pairs = map(text_bytes, chain.from_iterable(texts.items()))
    return count_bytes(len(texts)) + b"".join(pairs) + b"\0" if texts else b"\0"
