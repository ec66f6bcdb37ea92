"""The session models there are, by name."""

from __future__ import annotations

from ader_stream.ader.core import Core
from ader_stream.ader.model import NOTHING, Architecture, Dropped, SessionModel
from ader_stream.ader.sasrec import SASRec

ENCODERS: dict[str, type[SessionModel]] = {"sasrec": SASRec, "core": Core}


def model_of(architecture: Architecture, n_items: int, dropped: Dropped = NOTHING) -> SessionModel:
    """Build a model, its weights not drawn; raises KeyError where the encoder is unknown."""
    return ENCODERS[architecture.encoder](architecture, n_items, dropped)
