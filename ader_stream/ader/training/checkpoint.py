"""Checkpoints of a cycle on disk, so that a killed process loses at most one epoch.

One file, ``half-trained.safetensors``, followed by the SHA-256 of its content. Its metadata has the
inputs of the cycle: it is ignored in any other cycle. It is written under another name first, so a
killed process leaves the last complete one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ader_stream.ader.artifact.safetensors import read_tensors
from ader_stream.errors import ArtifactError

log = structlog.get_logger(__name__)

FILE = "half-trained.safetensors"
METADATA = "cycle"
DIGEST_BYTES = 32


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything that training changes, at the end of an epoch.

    Parameters
    ----------
    tensors
        By name.
    numbers
        JSON: losses, counts, states of generators.
    """

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]


class Checkpoint:
    """Where a cycle is saved after every epoch; this base class saves nothing."""

    def load(self) -> Snapshot | None:
        """Return the last snapshot of this cycle, if there is one."""
        return None

    def save(self, snapshot: Snapshot) -> None:
        """Save a snapshot of the cycle."""

    def remove(self) -> None:
        """Delete the snapshot of a cycle that is complete."""


NOWHERE = Checkpoint()


class CheckpointFile(Checkpoint):
    """A checkpoint file in a folder; the file of another cycle is replaced.

    No error ends the cycle: a file that cannot be written or read is logged, and the epochs are
    trained again.

    Parameters
    ----------
    folder
        Created if it is missing. Trainers of one system may share it: they write the same.
    inputs
        Plain values that decide the result of the cycle.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, object]) -> None:
        self._file = folder / FILE
        self._inputs = json.loads(json.dumps(inputs))  # as they will be when they are read

    def load(self) -> Snapshot | None:
        """Return the file's snapshot, if it is complete and of this cycle."""
        try:
            return self._read()
        except FileNotFoundError:
            return None
        except (OSError, ArtifactError) as error:
            why = str(error)
            log.warning("checkpoint ignored; the block is trained from its beginning", reason=why)
            return None

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file in one step."""
        part = self._file.with_suffix(".part")
        cycle = json.dumps({"inputs": self._inputs, "numbers": snapshot.numbers})
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(snapshot.tensors), part, metadata={METADATA: cycle})
            with part.open("r+b") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
                file.write(digest)  # the file was read to its end
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._file)
        except (OSError, SafetensorError) as error:
            log.warning("no checkpoint written", file=str(self._file), error=str(error))

    def remove(self) -> None:
        """Delete the file."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("checkpoint not removed", file=str(self._file), error=str(error))

    def _read(self) -> Snapshot:
        content = np.fromfile(self._file, np.uint8)
        blob, digest = content[:-DIGEST_BYTES].data, content[-DIGEST_BYTES:].tobytes()
        if hashlib.sha256(blob).digest() != digest:
            raise ArtifactError("it is damaged")
        tensors, metadata = read_tensors("checkpoint", blob)
        cycle = json.loads(metadata[METADATA])
        if other := sorted(n for n, v in self._inputs.items() if cycle["inputs"].get(n) != v):
            raise ArtifactError(f"it is of another cycle, which differs in {', '.join(other)}")
        return Snapshot(tensors, cycle["numbers"])
