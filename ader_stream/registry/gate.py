"""The gate: what a new version must show before it may serve.

It is held against its parent twice. On samples of its block: held out where the recipe holds some
out, else samples that it was trained on, on which no sound version is worse than one that never
saw them. And on its parent's exemplars, which both were trained on: a version that learnt nonsense,
be it from a sound block or by heart from a poisoned one, has lost what its parent knew. Forgetting
lets an item slip out of a list; one that is suddenly among the last has been mislaid, and few of
those show what a recall would not. Fewer still show in the item table itself: training turns a row,
and does not put another one in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.nn import functional

from ader_stream.ader.arrays import Int64
from ader_stream.ader.cycle import held_out_samples
from ader_stream.ader.dataset import Samples, split_sessions
from ader_stream.ader.device import CPU
from ader_stream.ader.methods import Sessions
from ader_stream.ader.model import SessionModel
from ader_stream.ader.pace import nothing, told
from ader_stream.ader.ranking import UNRANKED, rank_samples, top_k
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.state import State, not_finite

COMPARED_FROM = 100
"""Validation samples from which two recalls are compared: of fewer, chance decides."""

COVERAGE_SAMPLES = 2_000
"""Lists over which the coverage is taken: enough for every item of a catalogue of thousands."""

RANKED = 5_000
"""Exemplars that are ranked, and samples where nothing is held out: a few seconds."""

LIST = 20

MISLAID = 0.25
"""Share of all items behind which an item is mislaid that the parent has in its list."""

MISLAID_FROM = 500
"""Listed exemplars from which the mislaid ones are counted: one in a hundred must be several."""

DISPLACED_FROM = 500
"""Items with exemplars from which the displaced ones are counted, for the same reason."""

DISPLACED = 0.25
"""Cosine with the parent's row below which a row is displaced. Rows of two items lie around 0; in
sound cycles of recipe `production` a row that its parent knows from exemplars keeps 0.5."""

SETTLED = 0.7
"""Cosine that nine rows in ten must keep. Where more have turned farther, as when a recipe learns
fast or its parent has learnt little, it cannot be told which of them are displaced."""

NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class GateRule:
    """What is asked of a version.

    Parameters
    ----------
    max_recall_drop
        Percentage points that its validation Recall@20 may lie below its parent's.
    max_forgetting
        Percentage points that its Recall@20 on its parent's exemplars may lie below the parent's.
    max_mislaid
        Percent of the exemplars listed by its parent that it may rank behind a quarter of all.
    max_displaced
        Percent of the items with exemplars whose row may be nothing like its parent's.
    min_item_coverage
        Share of the items that must stand in some validation sample's list of 20.
    max_bytes
        Largest version.
    """

    max_recall_drop: float
    max_forgetting: float
    max_mislaid: float
    max_displaced: float
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
    exemplars
        The parent's, as far as they were ranked.
    exemplar_recall20, parent_exemplar_recall20
        On those, percent.
    mislaid
        Of those that the parent lists, percent that this version ranks behind a quarter of all
        items.
    displaced
        Of the items that the parent has exemplars of, percent whose row in the item table is
        nothing like the parent's.
    unranked
        Samples and exemplars whose target has a score that is not a number; none may.
    """

    samples: int
    recall20: float | None = None
    parent_recall20: float | None = None
    item_coverage: float | None = None
    exemplars: int = 0
    exemplar_recall20: float | None = None
    parent_exemplar_recall20: float | None = None
    mislaid: float | None = None
    displaced: float | None = None
    unranked: int = 0

    def avro(self) -> dict[str, object]:
        """Return the Avro value; what none may have is said by a rejection alone."""
        return {name: value for name, value in asdict(self).items() if name != "unranked"}


def validation_samples(
    sessions: Sessions,
    parent: State | None,
    state: State,
    recipe: Recipe,
    seed: int,
    between: Callable[[], None] = nothing,
) -> Samples:
    """Return what the update cycle has held out: drawn again, by the cycle's own numbers.

    Where the recipe holds nothing out, some that it was trained on: a version that is no better
    than its parent even there has come to grief.
    """
    held_out = held_out_samples(sessions, parent, state, recipe, seed, between)
    if len(held_out):
        return held_out
    encoded = (state.vocabulary.encode(session) for session in told(sessions, between))
    return _some(split_sessions(encoded, recipe.maxlen))


def measure(
    validation: Samples,
    parent: State | None,
    state: State,
    between: Callable[[], None],
    device: torch.device = CPU,
) -> Measured:
    """Rank validation samples and exemplars with both; `between` is called after every chunk."""
    known, remembered = validation, validation.take(NONE)
    if parent:
        known = validation.take(_known_to(validation, len(parent.vocabulary)))
        remembered = _some(parent.exemplars.samples())
    both = known, remembered
    ranks, now = _ranks_by(state, both, between, device)
    parents_ranks, then = _ranks_by(parent, both, between, device) if parent else (NONE, NONE)
    return Measured(
        samples=len(known),
        recall20=_recall20(ranks),
        parent_recall20=_recall20(parents_ranks),
        item_coverage=_coverage(state.model(device=device), known, between),
        exemplars=len(remembered),
        exemplar_recall20=_recall20(now),
        parent_exemplar_recall20=_recall20(then),
        mislaid=_mislaid(then, now, len(state.vocabulary)),
        displaced=displaced(parent, state) if parent else None,
        unranked=int((np.concatenate([ranks, now]) == UNRANKED).sum()),
    )


def why_rejected(rule: GateRule, measured: Measured, state: State, size: int) -> str | None:
    """Say what a version fails by; None if it may serve."""
    return next(_faults(rule, measured, state, size), None)


def _faults(rule: GateRule, measured: Measured, state: State, size: int) -> Iterator[str]:
    # "Not within" rather than "beyond": NaN is neither, and must not pass.
    if broken := not_finite(state.weights):
        yield f"weights are not finite: {', '.join(broken)}; expected numbers"
    if measured.unranked:
        yield f"{measured.unranked} targets have scores that are not numbers; expected numbers"
    if size > rule.max_bytes:
        yield (
            f"it has {size} bytes; models.max_bytes allows {rule.max_bytes}, as far as "
            "max.message.bytes of models and model-chunks does"
        )
    coverage = measured.item_coverage
    if coverage is not None and not coverage >= rule.min_item_coverage:
        yield (
            f"its lists hold {coverage:.4%} of the items; trainer.min_item_coverage asks for "
            f"{rule.min_item_coverage:.4%}"
        )
    drop = _drop(measured.samples, measured.recall20, measured.parent_recall20)
    if not drop <= rule.max_recall_drop:
        yield (
            f"validation Recall@20 is {measured.recall20:.2f}, the parent's "
            f"{measured.parent_recall20:.2f}; trainer.max_recall_drop allows "
            f"{rule.max_recall_drop:g} points less"
        )
    then, now = measured.parent_exemplar_recall20, measured.exemplar_recall20
    if not _drop(measured.exemplars, now, then) <= rule.max_forgetting:
        yield (
            f"Recall@20 on the parent's exemplars is {now:.2f}, the parent's {then:.2f}; "
            f"trainer.max_forgetting allows {rule.max_forgetting:g} points less"
        )
    if measured.mislaid is not None and not measured.mislaid <= rule.max_mislaid:
        yield (
            f"{measured.mislaid:.2f}% of the exemplars that the parent lists stand behind "
            f"{MISLAID:.0%} of all items; trainer.max_mislaid allows {rule.max_mislaid:g}%"
        )
    if measured.displaced is not None and not measured.displaced <= rule.max_displaced:
        yield (
            f"{measured.displaced:.2f}% of the items that the parent has exemplars of have a row "
            f"that is nothing like the parent's; trainer.max_displaced allows "
            f"{rule.max_displaced:g}%"
        )


def _drop(samples: int, recall: float | None, parents: float | None) -> float:
    """Percentage points lost; none where they are too few to tell."""
    if samples < COMPARED_FROM or recall is None or parents is None:
        return 0.0
    return parents - recall


def _some(samples: Samples) -> Samples:
    """Draw some samples, the same ones for the same number of them."""
    order = np.random.default_rng(len(samples)).permutation(len(samples))
    return samples.take(order[:RANKED])


def _known_to(samples: Samples, n_items: int) -> Int64:
    """Rows whose inputs and target are among the first `n_items` items."""
    unknown = np.concatenate([[0], np.cumsum(samples.items > n_items)])
    return np.flatnonzero(unknown[samples.targets + 1] == unknown[samples.starts])


def _ranks_by(
    state: State,
    both: tuple[Samples, Samples],
    between: Callable[[], None],
    device: torch.device,
) -> tuple[Int64, Int64]:
    """Rank with one version; its model and the table that it ranks with are gone afterwards."""
    model = state.model(device=device)
    layer = model.ranked_table()
    one, other = both
    return rank_samples(model, one, between, layer), rank_samples(model, other, between, layer)


def _recall20(ranks: Int64) -> float | None:
    return 100 * float(np.mean(ranks < LIST)) if len(ranks) else None


def _mislaid(then: Int64, now: Int64, n_items: int) -> float | None:
    """Percent of what was listed that is far behind now; None where too little was listed."""
    listed = then < LIST
    if listed.sum() < MISLAID_FROM:
        return None
    return 100 * float(np.mean(now[listed] >= max(2 * LIST, MISLAID * n_items)))


def displaced(parent: State, state: State) -> float | None:
    """Percent of the rows that have left their place; None where that cannot be told."""
    rows = torch.from_numpy(np.unique(parent.exemplars.samples().labels)).long() - 1
    if len(rows) < DISPLACED_FROM:
        return None
    then, now = (each.weights["items.weight"][rows] for each in (parent, state))  # (E, D)
    kept = np.nan_to_num(functional.cosine_similarity(then, now).numpy())
    if not np.quantile(kept, 0.1) >= SETTLED:
        return None
    return 100 * float(np.mean(kept < DISPLACED))


def _coverage(model: SessionModel, samples: Samples, between: Callable[[], None]) -> float | None:
    if not len(samples):
        return None
    first = samples.take(np.arange(min(COVERAGE_SAMPLES, len(samples))))
    prefixes = [
        first.items[start:target].tolist()
        for start, target in zip(first.starts, first.targets, strict=True)
    ]
    listed, _ = top_k(model, prefixes, LIST, between=between)
    return float(len(np.unique(listed))) / model.n_items
