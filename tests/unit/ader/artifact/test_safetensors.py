from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import save

from ader_stream.ader.artifact.safetensors import MAX_HEADER, read_tensors
from ader_stream.errors import ArtifactError

TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).view(2, 3),
    "b": torch.arange(3),
    "c": torch.tensor(7.0),
    "d": torch.zeros(0, 4),
    "e": torch.arange(5, dtype=torch.uint8),
    "f": torch.arange(2, dtype=torch.int32),
}


def blob(header: Any, data: bytes = b"\0" * 8) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


def test_it_reads_what_the_library_writes() -> None:
    tensors, metadata = read_tensors("x", save(TENSORS, metadata={"k": "v"}))
    assert metadata == {"k": "v"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_tensors_share_the_memory_of_what_can_be_written_to() -> None:
    data = bytearray(save({"a": torch.zeros(2)}))
    tensors, _ = read_tensors("x", data)
    tensors["a"][0] = 1.0
    assert data == save({"a": torch.tensor([1.0, 0.0])})


def test_tensors_of_bytes_are_a_copy() -> None:
    data = save({"a": torch.zeros(2)})
    read_tensors("x", data)[0]["a"][0] = 1.0
    assert data == save({"a": torch.zeros(2)})


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\0" * 7,
        (2**63).to_bytes(8, "little") + b"{}",
        (MAX_HEADER + 1).to_bytes(8, "little") + b" " * (MAX_HEADER + 1),
        blob(b"\xff\xfe"),
        blob(b"[" * 100_000),
        blob(b'{"a":' * 20_000),
        blob(b"1" * 10_000),
        blob([]),
        blob(None),
        blob({"__metadata__": {"k": 1}}, b""),
        blob({"__metadata__": []}, b""),
        blob({"a": None}),
        blob({"a": entry(dtype="BF16")}),
        blob({"a": entry(dtype=["F32"])}),
        blob({"a": entry(shape=[2.0])}),
        blob({"a": entry(shape=[True, 2])}),
        blob({"a": entry(shape=[-2])}),
        blob({"a": entry(shape="2")}),
        blob({"a": entry(shape=[1] * 9 + [2])}),
        blob({"a": entry(shape=[2**47, 2**47])}),
        blob({"a": entry(data_offsets=[8, 0])}),
        blob({"a": entry(data_offsets=[0, 4])}),
        blob({"a": entry(data_offsets=[0, 8, 8])}),
        blob({"a": entry(data_offsets=[-8, 0])}),
        blob({"a": entry(data_offsets=[0, 2**60], shape=[2**58])}),
        blob({"a": entry(), "b": entry()}),
        blob({"a": entry(data_offsets=[4, 12])}, b"\0" * 12),
        blob({"a": entry()}, b"\0" * 9),
        blob({"a": entry()}, b"\0" * 7),
        blob({"a": entry(dtype="U8", shape=[1], data_offsets=[0, 1]),
              "b": entry(shape=[1], data_offsets=[1, 5])}, b"\0" * 5),
    ],
)  # fmt: skip
def test_anything_else_is_refused(damaged: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^x are no safetensors: "):
        read_tensors("x", damaged)
