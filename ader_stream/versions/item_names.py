"""The item ids of a version, without its model: needs neither torch nor the weights."""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from ader_stream.artifact import Blob
from ader_stream.errors import ArtifactError
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_reader import ModelReader


class ItemNames(NamedTuple):
    """Items that a version knows, and those of which it has an exemplar (as the target).

    The latter are None where they were not read.
    """

    known: Set[str]
    exemplars: Set[str] | None


def read_item_names(reader: ModelReader, manifest: Manifest) -> ItemNames:
    """Return the item ids of a version; raise ArtifactError if its parts cannot be read."""
    parts = reader.fetch(manifest, ("vocabulary", "exemplars"))
    try:
        vocabulary, exemplars = (_tensors(parts[kind]) for kind in ("vocabulary", "exemplars"))
        names = _names(vocabulary)
        # The last click of an exemplar is its target; indices start at 1.
        targets = exemplars["items"][exemplars["offsets"][1:] - 1]
        covered = frozenset(names[index - 1] for index in np.unique(targets).tolist())
    except (SafetensorError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"version {manifest.version}: vocabulary and exemplars do not fit: {error!r:.300}"
        ) from None
    return ItemNames(frozenset(names), covered)


def _tensors(blob: Blob) -> Mapping[str, npt.NDArray[np.int64]]:
    tensors: Mapping[str, npt.NDArray[np.int64]] = load(bytes(blob))
    return tensors


def _names(vocabulary: Mapping[str, npt.NDArray[np.int64]]) -> list[str]:
    utf8, offsets = vocabulary["utf8"].tobytes(), vocabulary["offsets"].tolist()
    return [utf8[a:b].decode() for a, b in pairwise(offsets)]
