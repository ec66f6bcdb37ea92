"""The finished cycles of a run on disk, so that it can resume after a kill.

``FOLDER/cycle-T/`` holds the parts of an artifact, a file each, and ``digest``: what they must
hash to. It is written under another name first, so a kill leaves a complete state or none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ader_stream.ader.artifact.parts import decode_state, encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.artifact import KINDS, content_digest
from ader_stream.errors import ArtifactError


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


def load_state(folder: Path, cycle: int) -> State:
    """Read the state of a cycle; raises ArtifactError if it is missing or damaged."""
    place = _place(folder, cycle)
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


def keep_only(folder: Path, cycle: int) -> None:
    """Delete every state but that of a cycle, half-written ones included."""
    for place in folder.glob("cycle-*"):
        if place != _place(folder, cycle):
            shutil.rmtree(place)


def _place(folder: Path, cycle: int) -> Path:
    return folder / f"cycle-{cycle}"
