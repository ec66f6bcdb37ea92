"""The tensors of a safetensors blob, in place: nothing is copied, and nothing of it is trusted.

=========  ====================================================================================
8 bytes    length N of the header, little-endian
N bytes    JSON: name → ``dtype``, ``shape``, ``data_offsets`` [from, to); ``__metadata__``: texts
the rest   the data: every byte belongs to exactly one tensor
=========  ====================================================================================

The library's own reader copies each tensor; a version of 1 GB would be in memory three times.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from torch import Tensor

from ader_stream.artifact import Blob
from ader_stream.errors import ArtifactError

MAX_HEADER = 2**20
"""Bytes of a header: ours has some 50 tensors and 5 kB."""

MAX_DIMENSIONS = 8

METADATA = "__metadata__"

DTYPES = {"F32": torch.float32, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}
"""What our parts are made of."""


def read_tensors(kind: str, blob: Blob) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors by name, and the metadata.

    Parameters
    ----------
    kind
        Names the blob in errors.
    blob
        The tensors share its memory if it can be written to; else they share a copy.

    Raises
    ------
    ArtifactError
        It is not what the format says, to the last byte.
    """
    header, start = _read_header(kind, blob)
    metadata = _checked_metadata(kind, header.pop(METADATA, {}))
    buffer = bytearray(blob) if isinstance(blob, bytes) else blob
    places = {name: _checked_place(kind, name, entry) for name, entry in header.items()}
    _require_cover(kind, places, len(blob) - start)
    return {
        name: _view(kind, name, buffer, start + first, dtype, shape)
        for name, (first, _, dtype, shape) in places.items()
    }, metadata


def byte_ranges(kind: str, blob: Blob) -> dict[str, range]:
    """Return where each tensor's bytes stand in a blob, for who reads them by their place alone.

    >>> byte_ranges("example", (30).to_bytes(8, "little") + b'{"a":{"data_offsets":[0, 12]}}')
    {'a': range(38, 50)}
    """
    header, start = _read_header(kind, blob)
    offsets = {name: entry["data_offsets"] for name, entry in header.items() if name != METADATA}
    return {name: range(start + first, start + end) for name, (first, end) in offsets.items()}


_Place = tuple[int, int, torch.dtype, list[int]]
"""First byte, byte behind the last, type, shape."""


def _read_header(kind: str, blob: Blob) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or length > min(MAX_HEADER, len(blob) - 8):
        raise _refused(kind, f"{len(blob)} bytes with a header of {length}")
    try:
        header = json.loads(bytes(blob[8 : 8 + length]))
    except (ValueError, RecursionError) as error:
        raise _refused(kind, f"the header is no JSON: {type(error).__name__}") from None
    if not isinstance(header, dict):
        raise _refused(kind, "the header is no JSON object")
    return header, 8 + length


def _checked_metadata(kind: str, metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _refused(kind, "__metadata__ is no object of texts")
    return metadata


def _checked_place(kind: str, name: str, entry: Any) -> _Place:
    try:
        dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
        first, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise _refused(kind, f"{name!r:.50} has no known dtype, shape and data_offsets") from None
    if not _are_sizes(shape) or not _are_sizes([first, end]) or len(shape) > MAX_DIMENSIONS:
        raise _refused(kind, f"{name!r:.50} has a shape or data_offsets that are no sizes")
    if end - first != math.prod(shape) * dtype.itemsize:
        raise _refused(kind, f"{name!r:.50} has {end - first} bytes, which its shape denies")
    return first, end, dtype, shape


def _are_sizes(numbers: object) -> bool:
    """Whether it is a list of whole numbers that a blob's size may have."""
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**48 for n in numbers)


def _require_cover(kind: str, places: dict[str, _Place], size: int) -> None:
    """Every byte belongs to exactly one tensor: nothing overlaps, nothing is hidden."""
    end = 0
    for name, (first, behind, _, _) in sorted(places.items(), key=lambda item: item[1][:2]):
        if first != end:
            raise _refused(kind, f"{name!r:.50} begins at {first}, not at {end}")
        end = behind
    if end != size:
        raise _refused(kind, f"the tensors have {end} bytes of {size}")


def _view(
    kind: str, name: str, buffer: Blob, first: int, dtype: torch.dtype, shape: list[int]
) -> Tensor:
    if first % dtype.itemsize:
        raise _refused(kind, f"{name!r:.50} is not aligned")
    count = math.prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(buffer, dtype=dtype, count=count, offset=first).view(shape)


def _refused(kind: str, why: str) -> ArtifactError:
    return ArtifactError(f"{kind} are no safetensors: {why}")
