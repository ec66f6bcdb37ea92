from __future__ import annotations

import pytest
import torch

from ader_stream.ader.artifact.state import untrained
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.models.base import Architecture
from ader_stream.serve.loaded_versions import Version

ITEMS = tuple(f"item-{number}" for number in range(30))


@pytest.fixture(scope="session")
def version() -> Version:
    """Version 3, drawn and not trained, that knows `ITEMS`."""
    torch.set_num_threads(1)  # threads that wait for each other only slow matrices this small down
    generator = torch.Generator().manual_seed(7)
    model = untrained(Architecture(hidden=16, blocks=1, maxlen=5)).model()
    model.initialise(generator)
    model.grow(len(ITEMS), generator, item_bound=0.5)
    return Version(
        3, 7, 1_700_000_000_000, model, Vocabulary.of(ITEMS), ("item-4", "item-2", "item-0")
    )
