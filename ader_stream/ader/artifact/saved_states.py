"""States in folders: the finished cycles of a run, so that it can resume, and exported versions.

``FOLDER/cycle-T/`` holds the parts of an artifact, a file each, and ``digest``: what they must
hash to. It is written under another name first, so a kill leaves a complete state or none.
An exported version (`versions.export`) has a file ``KIND.safetensors`` for each part, and the
digest in its manifest.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ader_stream.ader.artifact.parts import decode_state, encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.artifact import KINDS, content_digest
from ader_stream.errors import ArtifactError

MANIFEST = "manifest.json"
"""Of an exported version."""


def save_state(folder: Path, cycle: int, state: State) -> None:
    """Write the state of a cycle; the folder is created if it is missing."""
    final = _place(folder, cycle)
    part = final.with_name(f"{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    parts = encode_parts(state)
    for kind, blob in parts.items():
        (part / kind).write_bytes(blob)
    (part / "digest").write_text(content_digest(parts))
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)


def load_state(folder: Path, cycle: int | None = None) -> State:
    """Read the state of a cycle, or of an exported version.

    Parameters
    ----------
    folder
        What `save_state` wrote to; without a cycle, what ``ader-stream models export`` wrote.
    cycle
        The cycle that was saved.

    Raises
    ------
    ArtifactError
        It is missing or damaged. The signature of an export is not checked; ``ader-stream models
        import`` checks it.
    """
    return _load_export(folder) if cycle is None else _load_cycle(_place(folder, cycle))


def exported_part(folder: Path, kind: str) -> Path:
    """Return the file of a part in the folder of an exported version."""
    return folder / f"{kind}.safetensors"


def _load_cycle(place: Path) -> State:
    try:
        parts = {kind: (place / kind).read_bytes() for kind in KINDS}
        digest = (place / "digest").read_text()
    except OSError as error:
        raise ArtifactError(
            f"{place}: no state to continue from: {error}; start from the first cycle"
        ) from None
    if content_digest(parts) != digest:
        raise ArtifactError(f"{place}: is damaged (its digest differs); start from the first cycle")
    return decode_state(parts)


def _load_export(folder: Path) -> State:
    try:
        parts = {kind: exported_part(folder, kind).read_bytes() for kind in KINDS}
        digest = json.loads((folder / MANIFEST).read_bytes())["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder}: no exported version: {error}; expected a folder that `ader-stream models "
            "export` wrote. What save_state wrote is read with its cycle: load_state(folder, cycle)"
        ) from None
    if content_digest(parts) != digest:
        raise ArtifactError(f"{folder}: is damaged (its digest differs); export the version again")
    return decode_state(parts)


def keep_only(folder: Path, cycle: int) -> None:
    """Delete every state but that of a cycle, half-written ones included."""
    for place in folder.glob("cycle-*"):
        if place != _place(folder, cycle):
            shutil.rmtree(place)


def _place(folder: Path, cycle: int) -> Path:
    return folder / f"cycle-{cycle}"
