"""The cycles that a run has finished, on disk, so that it can go on after a kill.

``FOLDER/cycle-T/`` holds the parts of an artifact, a file each, and ``digest``: what they must
hash to. It is written under another name first, so a kill leaves a whole state or none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ader_stream.ader.artifact.parts import decode_state, encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.artifact import KINDS, content_digest
from ader_stream.errors import ArtifactError


def save_state(folder: Path, cycle: int, state: State) -> None:
    """Write the state that a cycle has come to; the folder is made if need be."""
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
    """Read the state that a cycle has come to; raises ArtifactError if it is not there whole."""
    place = _place(folder, cycle)
    try:
        parts = {kind: (place / kind).read_bytes() for kind in KINDS}
        digest = (place / "digest").read_text()
    except OSError as error:
        raise ArtifactError(f"{place}: no state to go on from: {error}; begin anew") from None
    if content_digest(parts) != digest:
        raise ArtifactError(f"{place}: is damaged (its digest differs); begin anew")
    return decode_state(parts)


def keep_only(folder: Path, cycle: int) -> None:
    """Delete every state but that of a cycle, half-written ones included."""
    for place in folder.glob("cycle-*"):
        if place != _place(folder, cycle):
            shutil.rmtree(place)


def _place(folder: Path, cycle: int) -> Path:
    return folder / f"cycle-{cycle}"
