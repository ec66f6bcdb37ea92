"""A version as a folder that plain safetensors, JSON and ONNX readers open, and back.

======================  ==========================================================
``manifest.json``       the manifest; its parts name size and SHA-256 of the files
``manifest.sig``        signature of ``manifest.json``'s bytes, if the exporter has a key
``KIND.safetensors``    weights, vocabulary, exemplars, optimizer
``items.json``          item ids: row i of ``items.weight`` is item i of this list
``model.onnx``          the graph from a session to its best items (`artifact.onnx`); it
                        reads its weights from ``weights.safetensors`` and
                        ``ranked.safetensors``
``ranked.safetensors``  the table that it ranks with, where that is not the item table
======================  ==========================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ader_stream.ader.artifact.parts import decode_state
from ader_stream.ader.artifact.saved_states import MANIFEST, exported_part
from ader_stream.ader.artifact.state import State
from ader_stream.artifact import KINDS, Blob, sha256
from ader_stream.errors import ArtifactError, InputError
from ader_stream.paths import require_folder
from ader_stream.stream.avro.codec import decode_as, encode
from ader_stream.stream.avro.plain import from_plain, to_plain
from ader_stream.stream.model_registry.manifest import Manifest, Part
from ader_stream.stream.model_registry.manifest_record import (
    MAX_MANIFEST,
    Trust,
    check_manifest,
    require_counts,
)
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.signing import SIGNATURE_HEADER, Signer

SIGNATURE = "manifest.sig"
ITEMS = "items.json"

EXPECTED = "a folder that `ader-stream models export` wrote"


def export_version(
    reader: ModelReader,
    manifest: Manifest,
    folder: Path,
    signer: Signer | None = None,
    *,
    with_onnx: bool = True,
) -> None:
    """Write a version, verified, into a new or empty folder.

    Parameters
    ----------
    signer
        Signs the folder; None leaves it unsigned.
    with_onnx
        Whether to write `model.onnx`: needs the extra `onnx`, and takes some seconds.

    Raises
    ------
    ArtifactError
        The version cannot be read, or is not what its manifest says.
    InputError
        The folder is not empty, or cannot be written to.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder")
    parts = reader.fetch(manifest, KINDS)
    state = decode_state(parts)
    require_counts(manifest, items=len(state.vocabulary), exemplars=len(state.exemplars))
    files = _onnx_files(state, parts["weights"]) if with_onnx else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, part in parts.items():
            exported_part(folder, kind).write_bytes(part)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (folder / ITEMS).write_bytes(_json(list(state.vocabulary.items)))
        if signer:
            _, signature = signer.header(_json(to_plain(manifest)))
            (folder / SIGNATURE).write_bytes(signature)
        (folder / MANIFEST).write_bytes(
            _json(to_plain(manifest))
        )  # last: a folder with it is complete
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; name a folder to write to") from None


def read_folder(folder: Path, trust: Trust) -> tuple[Manifest, dict[str, bytes]]:
    """Return manifest and parts of an exported version, verified like one from the log.

    Raises
    ------
    InputError
        The folder holds no exported version.
    ArtifactError
        It is damaged, too new or too large, was rejected, or is not signed as required.
    """
    require_folder(folder, EXPECTED)
    manifest = _read_manifest(folder, trust)
    check_manifest(manifest, trust.max_bytes)
    if not manifest.is_accepted:
        raise ArtifactError(f"{folder}: the version was rejected: {manifest.rejection}")
    parts = {part.kind: _read_part(folder, part) for part in manifest.parts}
    state = decode_state(parts)
    require_counts(manifest, items=len(state.vocabulary), exemplars=len(state.exemplars))
    return manifest, parts


def import_version(
    publisher: ModelPublisher, manifest: Manifest, parts: Mapping[str, bytes]
) -> Manifest:
    """Publish an exported version as version 1 of a log, with the same digest.

    Training continues with the first session of the sessions topic.
    """
    run = replace(manifest.run, offsets=())
    first = replace(manifest, version=1, parent=None, predecessor=None, run=run)
    return publisher.publish(first, parts)


def _onnx_files(state: State, weights: Blob) -> dict[str, bytes]:
    from ader_stream.ader.artifact.onnx import onnx_files  # noqa: PLC0415 - needs an extra

    return onnx_files(state.model(), weights, exported_part(Path(), "weights").name)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _read_manifest(folder: Path, trust: Trust) -> Manifest:
    file, signature = folder / MANIFEST, folder / SIGNATURE
    try:
        if file.stat().st_size > MAX_MANIFEST:
            raise ArtifactError(f"{file} is larger than {MAX_MANIFEST} bytes", "too-large")
        data = file.read_bytes()
        headers = {SIGNATURE_HEADER: signature.read_bytes()} if signature.exists() else {}
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; expected {EXPECTED}") from None
    trust.keys.verify(data, headers)
    try:
        value, _ = encode("ModelManifest", json.loads(data))
        return from_plain(Manifest, decode_as("ModelManifest", value))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ArtifactError(f"{file} is no manifest: {error!r:.200}", "manifest") from None


def _read_part(folder: Path, part: Part) -> bytes:
    file = exported_part(folder, part.kind)
    try:
        if file.stat().st_size != part.size:
            raise ArtifactError(f"{file} has not the {part.size} bytes of its manifest")
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; the export is not whole") from None
    if sha256(data) != part.sha256:
        raise ArtifactError(f"{file} is not what its manifest says")
    return data
