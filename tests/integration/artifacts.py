"""A real version, small enough to be made at once, and a manifest for it."""

from __future__ import annotations

from dataclasses import replace

from safetensors.torch import load

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import PAPER
from ader_stream.stream.model_registry.manifest import Manifest
from tests.fakes import example_manifest
from tests.integration.system import SMALL

ITEMS = tuple(f"item-{number}" for number in range(20))
FREQUENT = ("item-5", "item-3", "item-4")


def tiny_parts(seed: int = 0, items: tuple[str, ...] = ITEMS, epochs: int = 1) -> dict[str, bytes]:
    """Train on sessions that walk along items; one epoch teaches next to nothing."""
    recipe = replace(PAPER, **SMALL["trainer"]["overrides"] | {"max_epochs": epochs})
    sessions = [(items * 2)[start : start + 4] for start in range(len(items))]
    state = train_cycle(sessions, None, recipe, seed, lambda _: None).state
    return encode_parts(state)


def manifest_of(version: int, parts: dict[str, bytes]) -> Manifest:
    """Return a manifest as the trainer hands it to `ModelPublisher`: of block `version` - 1."""
    offsets = load(parts["exemplars"])["offsets"]
    items = len(load(parts["vocabulary"])["offsets"]) - 1
    report = {
        "epochs": 1,
        "best_epoch": 1,
        "losses": [1.0],
        "exemplars": len(offsets) - 1,
        "sessions": 20,
        "clicks": 80,
        "train_samples": 60,
        "items": items,
        "new_items": items,
    }
    run = {"code_version": "test", "device": "cpu", "threads": 1}
    made_by = {"method": "ader", "recipe": "paper", "frequent_items": list(FREQUENT)}
    return example_manifest(version, **made_by, report=report, run=run)
