"""Load versions: verified parts from the log, and the model, compared with the manifest."""

from __future__ import annotations

from ader_stream.ader.artifact.parts import decode_serving, decode_state
from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.models.base import SessionModel
from ader_stream.artifact import KINDS
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.manifest_record import require_counts
from ader_stream.stream.model_registry.model_reader import ModelReader


def load_serving(reader: ModelReader, manifest: Manifest) -> tuple[SessionModel, Vocabulary]:
    """Return model and vocabulary of a version; raise ArtifactError if it cannot be used."""
    parts = reader.fetch(manifest, ("weights", "vocabulary"))
    model, vocabulary = decode_serving(parts["weights"], parts["vocabulary"])
    require_counts(manifest, items=len(vocabulary))
    return model, vocabulary


def load_state(reader: ModelReader, manifest: Manifest) -> State:
    """Return the state that the next cycle continues; raise ArtifactError if it cannot."""
    state = decode_state(reader.fetch(manifest, KINDS))
    require_counts(manifest, items=len(state.vocabulary), exemplars=len(state.exemplars))
    return state
