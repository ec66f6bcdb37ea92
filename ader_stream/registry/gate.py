"""The gate: what a new version must show before it may serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from ader_stream.ader.cycle import held_out_samples
from ader_stream.ader.dataset import Samples, split_sessions
from ader_stream.ader.methods import Sessions
from ader_stream.ader.model import SessionModel
from ader_stream.ader.ranking import rank_samples, top_k
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.state import State

COMPARED_FROM = 100
"""Validation samples from which two recalls are compared: of fewer, chance decides."""

COVERAGE_SAMPLES = 2_000
"""Lists over which the coverage is taken: enough for every item of a catalogue of thousands."""

INSTEAD = 5_000
"""Samples that are ranked where nothing is held out."""

LIST = 20


@dataclass(frozen=True)
class GateRule:
    """What is asked of a version.

    Parameters
    ----------
    max_recall_drop
        Percentage points that its validation Recall@20 may lie below its parent's.
    min_item_coverage
        Share of the items that must stand in some validation sample's list of 20.
    max_bytes
        Largest version.
    """

    max_recall_drop: float
    min_item_coverage: float
    max_bytes: int


@dataclass(frozen=True)
class Measured:
    """What was found; a Gate's value in the manifest.

    Parameters
    ----------
    samples
        Validation samples of which the parent knows every item; all where there is no parent.
    recall20, parent_recall20
        On those, percent.
    item_coverage
        Share of the items in some list of 20.
    """

    samples: int
    recall20: float | None = None
    parent_recall20: float | None = None
    item_coverage: float | None = None

    def avro(self) -> dict[str, object]:
        """Return the Avro value."""
        return asdict(self)


def validation_samples(
    sessions: Sessions, parent: State | None, state: State, recipe: Recipe, seed: int
) -> Samples:
    """Return what the update cycle has held out: drawn again, by the cycle's own numbers.

    Where the recipe holds nothing out, some that it was trained on: a version that is no better
    than its parent even there has come to grief.
    """
    held_out = held_out_samples(sessions, parent, state, recipe, seed)
    if len(held_out):
        return held_out
    block = split_sessions((state.vocabulary.encode(s) for s in sessions), recipe.maxlen)
    return block.take(np.arange(len(block))[:INSTEAD])


def measure(
    validation: Samples, parent: State | None, state: State, between: Callable[[], None]
) -> Measured:
    """Rank the validation samples with both models; `between` is called after every chunk."""
    known = validation.take(_known_to(validation, len(parent.vocabulary))) if parent else validation
    if not len(known):
        return Measured(0)
    model = state.model()
    return Measured(
        samples=len(known),
        recall20=_recall20(model, known, between),
        parent_recall20=_recall20(parent.model(), known, between) if parent else None,
        item_coverage=_coverage(model, known),
    )


def why_rejected(rule: GateRule, measured: Measured, state: State, size: int) -> str | None:
    """Say what a version fails by; None if it may serve."""
    broken = [name for name, weight in state.weights.items() if not torch.isfinite(weight).all()]
    if broken:
        return f"weights are not finite: {', '.join(broken)}; expected numbers"
    if size > rule.max_bytes:
        return f"it has {size} bytes; models.max_bytes allows {rule.max_bytes}"
    coverage = measured.item_coverage
    if coverage is not None and coverage < rule.min_item_coverage:
        return (
            f"its lists hold {coverage:.4%} of the items; trainer.min_item_coverage asks for "
            f"{rule.min_item_coverage:.4%}"
        )
    if measured.samples >= COMPARED_FROM and _drop(measured) > rule.max_recall_drop:
        return (
            f"validation Recall@20 is {measured.recall20:.2f}, the parent's "
            f"{measured.parent_recall20:.2f}; trainer.max_recall_drop allows "
            f"{rule.max_recall_drop:g} points less"
        )
    return None


def _drop(measured: Measured) -> float:
    if measured.recall20 is None or measured.parent_recall20 is None:
        return 0.0
    return measured.parent_recall20 - measured.recall20


def _known_to(samples: Samples, n_items: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows whose inputs and target are among the first `n_items` items."""
    unknown = np.concatenate([[0], np.cumsum(samples.items > n_items)])
    return np.flatnonzero(unknown[samples.targets + 1] == unknown[samples.starts])


def _recall20(model: SessionModel, samples: Samples, between: Callable[[], None]) -> float:
    return 100 * float(np.mean(rank_samples(model, samples, between) < LIST))


def _coverage(model: SessionModel, samples: Samples) -> float:
    first = samples.take(np.arange(min(COVERAGE_SAMPLES, len(samples))))
    prefixes = [
        first.items[start:target].tolist()
        for start, target in zip(first.starts, first.targets, strict=True)
    ]
    listed, _ = top_k(model, prefixes, LIST)
    return float(len(np.unique(listed))) / model.n_items
