"""A version as a folder that plain safetensors, JSON and ONNX readers open, and back.

======================  ==========================================================
``manifest.json``       the manifest; its parts name size and SHA-256 of the files
``KIND.safetensors``    weights, vocabulary, exemplars, optimizer
``items.json``          item ids: row i of ``items.weight`` is item i of this list
``model.onnx``          the graph from a session to its best items (`onnx_graph`); it
                        reads its weights from ``weights.safetensors``
======================  ==========================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ader_stream.ader.artifact import decode_state
from ader_stream.ader.state import State
from ader_stream.ader.tensors import Blob
from ader_stream.errors import ArtifactError, InputError
from ader_stream.stream.kafka.codec import decode_as, encode
from ader_stream.stream.models.manifest import (
    KINDS,
    MAX_MANIFEST,
    Manifest,
    check_manifest,
    require_counts,
    sha256,
)
from ader_stream.stream.models.model_log import ModelPublisher
from ader_stream.stream.models.model_reader import ModelReader

MANIFEST = "manifest.json"
ITEMS = "items.json"
ONNX = "model.onnx"


def export_version(
    reader: ModelReader, manifest: Manifest, folder: Path, *, with_onnx: bool = True
) -> None:
    """Write a version that was checked into a new or empty folder.

    Parameters
    ----------
    with_onnx
        Needs the extra `onnx`, and takes some seconds.

    Raises
    ------
    ArtifactError
        It cannot be read, or is not what its manifest says.
    InputError
        The folder has something in it, or cannot be written to.
    """
    parts = reader.fetch(manifest, KINDS)
    state = decode_state(parts)
    require_counts(manifest, items=len(state.vocabulary), exemplars=len(state.exemplars))
    graph = _graph_of(state, parts["weights"]) if with_onnx else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(f"{folder} is not empty; name a new folder")
        for kind, part in parts.items():
            _file_of(folder, kind).write_bytes(part)
        if graph:
            (folder / ONNX).write_bytes(graph)
        _write_json(folder / ITEMS, state.vocabulary.items)
        _write_json(folder / MANIFEST, manifest)  # the last one: a folder with it is whole
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; name a folder to write to") from None


def read_folder(folder: Path, max_bytes: int) -> tuple[Manifest, dict[str, bytes]]:
    """Return manifest and parts of an exported version, checked like one from the log.

    Raises
    ------
    InputError
        The folder holds no exported version.
    ArtifactError
        It is damaged.
    """
    manifest = _read_manifest(folder / MANIFEST)
    check_manifest(manifest, max_bytes)
    parts = {part["kind"]: _read_part(folder, part) for part in manifest["parts"]}
    state = decode_state(parts)
    require_counts(manifest, items=len(state.vocabulary), exemplars=len(state.exemplars))
    return manifest, parts


def import_version(
    publisher: ModelPublisher, manifest: Manifest, parts: Mapping[str, bytes]
) -> Manifest:
    """Publish an exported version as the first one of a log: reading begins with its first session.

    The digest stays what it is.
    """
    run = manifest["run"] | {"offsets": []}
    first = {"version": 1, "parent": None, "predecessor": None, "run": run}
    return publisher.publish(manifest | first, parts)


def _graph_of(state: State, weights: Blob) -> bytes:
    from ader_stream.ader.onnx_graph import onnx_graph  # noqa: PLC0415 - needs an extra

    return onnx_graph(state.model(), weights, _file_of(Path(), "weights").name)


def _file_of(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.safetensors"


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_manifest(file: Path) -> Manifest:
    try:
        if file.stat().st_size > MAX_MANIFEST:
            raise ArtifactError(f"{file} is larger than {MAX_MANIFEST} bytes", "too-large")
        value = json.loads(file.read_text(encoding="utf-8"))
        return decode_as("ModelManifest", encode("ModelManifest", value)[0])
    except OSError as error:
        raise InputError(
            f"{file}: {error.strerror}; expected a folder that `ader-stream models export` wrote"
        ) from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ArtifactError(f"{file} is no manifest: {error!r:.200}", "manifest") from None


def _read_part(folder: Path, part: Mapping[str, Any]) -> bytes:
    file = _file_of(folder, part["kind"])
    try:
        if file.stat().st_size != part["size"]:
            raise ArtifactError(f"{file} has not the {part['size']} bytes of its manifest")
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; the export is not whole") from None
    if sha256(data) != part["sha256"]:
        raise ArtifactError(f"{file} is not what its manifest says")
    return data
