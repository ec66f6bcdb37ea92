"""A model as an ONNX graph: the code that serves, traced, from a session to its best items.

===========  =====================  ==========================================================
``session``  int64 (batch, maxlen)  rows of ``items.json``, oldest first, −1 before the first
``k``        int64, a scalar        length of the lists; all items where there are fewer
``items``    int64 (batch, k)       rows of ``items.json``, best first, the lower first in a tie
``scores``   float32 (batch, k)     theirs
===========  =====================  ==========================================================

A session is as long as the model looks back, because what a model makes of the last click and of
the one before it is a shape in its code, and a trace keeps shapes. The weights are not in the
graph: it reads them where they stand in safetensors files beside it. One of them is the model's
own; where it ranks with another table than it reads sessions with, that one has a file, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.export import Dim

from ader_stream.ader.artifact.safetensors import byte_ranges
from ader_stream.ader.models.base import SessionModel
from ader_stream.artifact import Blob

NO_ITEM = -1
"""Stands before the first click of a session that is shorter than maxlen."""

GRAPH, RANKED = "model.onnx", "ranked.safetensors"
"""Names of the files: the graph, and the table that it ranks with."""

TALKATIVE = ("torch.onnx", "torch.__trace", "onnxscript", "onnx_ir")
"""Loggers that tell every step, and warn of what is not missed here, torchvision say."""


class _BestItems(nn.Module):
    """What is traced: scores as in serving, then the best of them."""

    def __init__(self, model: SessionModel) -> None:
        super().__init__()
        self.model = model
        self.layer: Tensor
        self.register_buffer("layer", model.ranked_table())
        self.has_own_layer = self.layer.data_ptr() != model.items.weight.data_ptr()

    def forward(self, session: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return items (B, k) and scores (B, k) of sessions (B, maxlen)."""
        inputs = session - NO_ITEM  # padding is 0, and item i is row i − 1
        layer = self.layer if self.has_own_layer else self.model.items.weight
        scores = self.model.scores(inputs, layer)  # (B, I)
        count: Any = k.clamp(max=self.model.n_items).item()  # a symbol while it is traced
        torch._check(count >= 0)  # noqa: SLF001 - documented for torch.export
        torch._check(count <= self.model.n_items)  # noqa: SLF001
        # ONNX defines what torch leaves open: of equal scores, the lower index comes first.
        values, columns = scores.topk(count)
        return columns, values


def onnx_files(model: SessionModel, weights: Blob, location: str) -> dict[str, bytes]:
    """Return an ONNX file and what it reads beside the weights, by their names.

    Parameters
    ----------
    model
        In eval mode.
    weights
        The safetensors file that holds the model's weights.
    location
        Its name.
    """
    traced = _BestItems(model).eval()
    files = {RANKED: save({"layer": traced.layer})} if traced.has_own_layer else {}
    graph = _trace(traced)
    for name, blob in {location: weights, **files}.items():
        _refer(graph, byte_ranges(name, blob), name)
    _forget_how_it_was_traced(graph)
    for output in graph.graph.outputs:
        output.shape = ir.Shape(["batch", "k"])
    return {GRAPH: ir.to_proto(graph).SerializeToString(deterministic=True), **files}


def _trace(best_items: _BestItems) -> ir.Model:
    maxlen = best_items.model.architecture.maxlen
    example = torch.zeros(2, maxlen, dtype=torch.int64), torch.tensor(1)
    with _silenced():
        program = torch.onnx.export(
            best_items,
            example,
            dynamo=True,
            verbose=False,
            optimize=False,  # it would put the transposed table into the graph
            input_names=["session", "k"],
            output_names=["items", "scores"],
            dynamic_shapes={"session": {0: Dim("batch")}, "k": {}},
        )
    assert program is not None  # only the older exporter returns none
    traced: ir.Model = program.model
    return traced


def _refer(model: ir.Model, places: Mapping[str, range], location: str) -> None:
    """Have the graph's weights read from a file; what is folded out of small ones stays in it."""
    for name, value in model.graph.initializers.items():
        place = places.get(name.removeprefix("model."))
        if place is not None and value.dtype is not None and value.shape is not None:
            value.const_value = ir.ExternalTensor(
                location, place.start, len(place), value.dtype, shape=value.shape, name=name
            )


def _forget_how_it_was_traced(model: ir.Model) -> None:
    """Take out names of files and lines: the same model is the same bytes, wherever it is."""
    for part in (model, model.graph, *model.graph):
        part.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()


@contextmanager
def _silenced() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
