"""Decode JSON, and text that is almost JSON."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode

REMEMBERED_TEXTS = 4
"""Several fields may be read from the same text inside a record."""


def decode_json(value: bytes | str) -> Any:
    """Return the value of a JSON text; it may have NaN, as Python and others write it.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    try:
        return _decode(value)
    except (ValueError, RecursionError):
        return _decode_loose(value)


@lru_cache(maxsize=REMEMBERED_TEXTS)
def decode_inner_json(text: bytes | str) -> Any:
    """Return the value of a JSON text inside a record; callers must not change it.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    return decode_json(text)


def _decode_loose(value: bytes | str) -> Any:
    try:
        decoded = json.loads(value)
        json.dumps(decoded, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except RecursionError as error:
        raise ValueError(str(error)) from None
    return decoded
