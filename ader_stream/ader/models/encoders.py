"""The session models, by name."""

from __future__ import annotations

from ader_stream.ader.models.base import NO_DROPOUT, Architecture, DropoutShares, SessionModel
from ader_stream.ader.models.core import Core
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.errors import SettingsError

ENCODERS: dict[str, type[SessionModel]] = {"sasrec": SASRec, "core": Core}


def build_model(
    architecture: Architecture, n_items: int, dropped: DropoutShares = NO_DROPOUT
) -> SessionModel:
    """Build a model without drawing its weights.

    Raises
    ------
    KeyError
        The encoder is unknown.
    SettingsError
        So many members cannot share the width, or the encoder is one model alone.
    """
    members, most = architecture.members, ENCODERS[architecture.encoder].most_members
    if not 1 <= members <= most or architecture.hidden % members:
        raise SettingsError(
            f"{members} members cannot share a width of {architecture.hidden}: encoder "
            f"{architecture.encoder!r} has 1 to {most}, of equal width"
        )
    return ENCODERS[architecture.encoder](architecture, n_items, dropped)
