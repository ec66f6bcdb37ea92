"""The gate: the tests that a new version must pass before it may serve.

It is compared with its parent twice. First on samples of its block: those held out, or, where the
recipe holds nothing out, samples that it was trained on, on which no sound version is worse than
one that never saw them. Second on its parent's exemplars, which both were trained on: a version
whose training failed, or that memorised a poisoned block, has lost what its parent knew. Samples of
items that no parent knows (all of them in a first version) are compared with lists made without a
model (`baselines`). A version no worse than a parent or a list may still have learned nothing,
where nothing can be learned or they have learned nothing either: so a version must rank what a
session clicked next before what another one did (`pairwise_accuracy`), and not only on samples it
memorised.

Forgetting moves an item out of a list; an item that is suddenly among the last is a negative flip,
and a few of those show a fault that a recall would not. Fewer still show in the item table itself:
training turns a row, and does not replace it by another one.

Every comparison has confidence bounds (`bounds`): a version is rejected for a loss that is certain,
and undecided where the samples are too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch

from ader_stream.ader.artifact.state import State, not_finite
from ader_stream.ader.data.arrays import Bools, Int32, Int64
from ader_stream.ader.data.dataset import Samples, Sessions, split_sessions
from ader_stream.ader.device import CPU
from ader_stream.ader.metrics import LIST, is_hit
from ader_stream.ader.models.ranking import UNRANKED, rank_items, rank_samples
from ader_stream.ader.progress import no_progress, with_progress
from ader_stream.stream.model_registry.manifest import GateComparison
from ader_stream.versions.gate.baselines import count_baselines
from ader_stream.versions.gate.bounds import ALMOST_SURE, CONFIDENCE, Share, fewest_trials
from ader_stream.versions.gate.comparison import ComparisonKind, compare
from ader_stream.versions.gate.measured import Measured
from ader_stream.versions.gate.measures import (
    FLIPPED,
    Coverage,
    coverage,
    embedding_drift,
    negative_flips,
    renamed,
    still_known,
)
from ader_stream.versions.gate.pairwise_accuracy import (
    CHANCE,
    PairwiseAccuracy,
    count_co_clicks,
    draw_pairs,
    pairwise_accuracy,
)

RANKED = 5_000
"""Most exemplars that are ranked, and samples where nothing is held out: a few seconds."""

NO_MORE_TO_SAY = (
    f"with the next block no more than {RANKED} samples would be ranked, so nothing learns from "
    "them; hold sessions out (validation_share in trainer.overrides), which tells more, or accept "
    "versions that are not judged"
)

NONE = np.zeros(0, dtype=np.int64)


class WhenUndecided(StrEnum):
    """Treatment of a version that too few samples judge to be sound or not."""

    ACCEPT = "accept"
    """It serves."""

    JOIN = "join"
    """It is rejected, and its sessions are trained again together with the next block."""

    REJECT = "reject"
    """It is rejected, and its sessions are never trained."""


@dataclass(frozen=True)
class GateRule:
    """The thresholds of the gate. A loss within the bounds of a comparison is not counted.

    Parameters
    ----------
    max_recall_drop
        Percentage points that its validation Recall@20 may lie below its parent's, and below that
        of a list of the most clicked items where no parent knows the items. There it may rank as
        many percent of what others clicked next behind a quarter of all items.
    max_forgetting
        Percentage points that its Recall@20 on its parent's exemplars may lie below the parent's.
    max_negative_flips
        Percent of the exemplars listed by its parent that it may rank behind a quarter of all.
    max_embedding_drift
        Percent of the items with exemplars whose row may be nothing like its parent's.
    min_item_coverage
        Share of the items that its lists could hold which must be in some validation sample's
        list of 20.
    max_bytes
        Largest version.
    when_undecided
        What is done with a version of which too little is known.
    """

    max_recall_drop: float
    max_forgetting: float
    max_negative_flips: float
    max_embedding_drift: float
    min_item_coverage: float
    max_bytes: int
    when_undecided: WhenUndecided = WhenUndecided.JOIN


def validation_samples(
    held_out: Samples,
    sessions: Sessions,
    state: State,
    between: Callable[[], None] = no_progress,
) -> Samples:
    """Return the samples that the gate ranks.

    Those that the update cycle held out; where its recipe holds nothing out, some that it was
    trained on: a version that ranks even those no better than its parent is not sound.

    Parameters
    ----------
    held_out
        By the cycle (`CycleResult.held_out`).
    sessions, state
        The block, and the version trained on it.
    between
        Called now and then.
    """
    if len(held_out):
        return held_out
    encoded = (state.vocabulary.encode(session) for session in with_progress(sessions, between))
    return _some(split_sessions(encoded, state.architecture.maxlen))


def measure(
    validation: Samples,
    parent: State | None,
    state: State,
    between: Callable[[], None],
    device: torch.device = CPU,
    left: int = 0,
    *,
    held_out: bool = False,
) -> Measured:
    """Rank validation samples and exemplars with both.

    Parameters
    ----------
    validation
        As `validation_samples` returns them.
    between
        Called after every chunk.
    left
        Number of the parent's items that the version does not have; the parent is compared without
        them.
    held_out
        Whether the version was trained without the samples.
    """
    unexpected = 0
    if parent and left:
        stays = still_known(parent, state, between)
        unexpected = abs(left - int(np.count_nonzero(~stays)))
        parent = parent.keep(stays)
    remembered = _some(parent.exemplars.samples()) if parent else validation.take(NONE)
    is_known = _is_known(validation, len(parent.vocabulary) if parent else 0)
    pairs, n_items = draw_pairs(validation), len(state.vocabulary)
    sessions = pairs.sessions
    baselines = count_baselines(validation, LIST, between)
    co_clicks = count_co_clicks(validation, pairs, between)
    ranks, now = _ranks_by(state, (validation, remembered), pairs.others, between, device)
    parents_ranks, then = np.zeros((2, 0), np.int64), NONE
    if parent:
        beside = pairs.among(validation, len(parent.vocabulary))[is_known]
        both = validation.take(np.flatnonzero(is_known)), remembered
        parents_ranks, then = _ranks_by(parent, both, beside, between, device)
    others = baselines.popular.copy()
    others[is_known] = is_hit(parents_ranks[0])
    each_its_own, is_new = np.arange(len(remembered)), ~is_known
    listed = is_hit(ranks[0])
    return Measured(
        comparisons=(
            *_compare(ComparisonKind.PARENT, listed, others, sessions, is_known),
            *_compare(ComparisonKind.POPULAR, listed, others, sessions, is_new),
            *compare(ComparisonKind.BLOCK, listed, others, sessions),
            *compare(ComparisonKind.EXEMPLARS, is_hit(now), is_hit(then), each_its_own),
            *_compare_order(ranks, co_clicks, sessions),
        ),
        pairwise_accuracy=PairwiseAccuracy(
            pairwise_accuracy(-ranks, sessions),
            pairwise_accuracy(-parents_ranks, sessions[is_known] if parent else NONE),
            pairwise_accuracy(co_clicks, sessions),
            held_out,
        ),
        coverage=coverage(state.model(device=device), validation, between),
        negative_flips=negative_flips(is_hit(then), now, n_items, each_its_own, remembered.labels),
        new_negative_flips=negative_flips(
            baselines.neighbours & is_new, ranks[0], n_items, sessions, validation.labels
        ),
        embedding_drift=embedding_drift(parent, state) if parent else None,
        unranked=int((np.concatenate([ranks[0], now]) == UNRANKED).sum()),
        renamed=unexpected + (renamed(parent, state) if parent else 0),
    )


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate on a version.

    Parameters
    ----------
    rejection
        Why it must not be served; None if it may.
    measured
        What the decision is based on.
    joins
        Whether its sessions are to be trained again together with the next block.
    """

    rejection: str | None
    measured: Measured
    joins: bool = False


def judge(rule: GateRule, measured: Measured, state: State, size: int) -> Verdict:
    """Decide whether a version may serve; `GateRule.when_undecided` is for undecided ones."""
    if rejection := why_rejected(rule, measured, state, size):
        return Verdict(rejection, measured)
    undecided = why_undecided(rule, measured)
    measured = replace(measured, undecided=undecided)
    if undecided is None or rule.when_undecided is WhenUndecided.ACCEPT:
        return Verdict(None, measured)
    joins = rule.when_undecided is WhenUndecided.JOIN
    what = "they are trained again with the next block" if joins else "nothing learns from them"
    if joins and _says_all(measured):
        joins, what = False, NO_MORE_TO_SAY
    rejection = f"{undecided}; trainer.when_undecided = {rule.when_undecided.value}: {what}"
    return Verdict(rejection, measured, joins)


def why_rejected(rule: GateRule, measured: Measured, state: State, size: int) -> str | None:
    """Return the first test that a version fails; None where it passes all of them."""
    return next(_faults(rule, measured, state, size), None)


def why_undecided(rule: GateRule, measured: Measured) -> str | None:
    """Return why the samples are too few to judge a version; None where they are enough.

    On its block it must surely be no worse than the parent, or than popular items, but by
    `max_recall_drop`; and it must surely tell apart what sessions click next, which must not be
    chance, and not surely know less than co-clicks do, but by as much. Where too few sessions say
    anything of that, the parent's exemplars may: the version has surely forgotten no more than
    `max_forgetting`.
    """
    return next(_unknowns(rule, measured), None)


def _unknowns(rule: GateRule, measured: Measured) -> Iterator[str]:
    block = measured.comparison(ComparisonKind.BLOCK)
    remembered = measured.comparison(ComparisonKind.EXEMPLARS)
    remembers = remembered is not None and remembered.gain_low >= -rule.max_forgetting
    enough, found = fewest_trials(rule.max_recall_drop), measured.pairwise_accuracy
    sessions = block.sessions if block else 0
    keeps_up = block is not None and block.gain_low >= -rule.max_recall_drop
    if not keeps_up and not (remembers and sessions < enough):
        least = f"{block.gain_low:.1f} points" if block else "not known"
        yield (
            f"too little is known of it: on {sessions} sessions its Recall@20 less the parent's, "
            f"or popular items', is at least {least} ({CONFIDENCE:.0%} sure); expected "
            f"{-rule.max_recall_drop:g} (trainer.max_recall_drop), for which {enough:.0f} sessions "
            "must show no loss"
        )
    if remembers and found.trials < enough:
        return
    if not found.has_learnt:
        yield (
            "too little is known of it: what a session clicked next and what another one did, it "
            f"tells apart {_of_chance(found.version)}"
        )
    yield from _hardly_learnt(rule, measured, remembers=remembers)
    if not found.can_be_learnt:
        yield (
            "too little is known of its block, which may be chance: what a session clicked next "
            f"and what another one did, co-clicks tell apart {_of_chance(found.co_clicks)}; the "
            f"parent, {_of_chance(found.parent)}"
        )


def _hardly_learnt(rule: GateRule, measured: Measured, *, remembers: bool) -> Iterator[str]:
    """Ask for what co-clicks know, less `max_recall_drop`: the version was trained on these clicks.

    Where exemplars speak for it, it may not surely know less. Nor, of sessions that were held out,
    than half of what co-clicks know: where rows lie next to their place, so much is left.
    """
    beside = measured.comparison(ComparisonKind.CO_CLICKS)
    held_out = measured.pairwise_accuracy.held_out
    if beside is None:
        return
    half = max(0.0, beside.other_recall20 - CHANCE) / 2
    allowed = half if held_out else rule.max_recall_drop
    if not (beside.gain_high if held_out or remembers else beside.gain_low) >= -allowed:
        yield (
            "too little is known of it: what a session clicked next and what another one did, it "
            f"tells apart in {beside.recall20:.1f}% of the pairs that co-clicks tell apart in "
            f"{beside.other_recall20:.1f}%, from {beside.gain_low:.1f} to {beside.gain_high:.1f} "
            f"points more (either {CONFIDENCE:.0%} sure by {beside.sessions} sessions); expected "
            f"{-allowed:.1f} at least"
        )


def _of_chance(share: Share | None) -> str:
    if share is None:
        return "in no session"
    return (
        f"in {share.percent:.1f}% of {share.trials} sessions, surely {share.low:.1f}% "
        f"({ALMOST_SURE:.0%} sure); expected above {CHANCE:g}%, which is chance"
    )


def _says_all(measured: Measured) -> bool:
    """Return whether a block has as many samples as are ranked: another block adds none."""
    block = measured.comparison(ComparisonKind.BLOCK)
    return block is not None and block.samples >= RANKED


def _faults(rule: GateRule, measured: Measured, state: State, size: int) -> Iterator[str]:
    # "Not within" rather than "beyond": NaN is neither, and must not pass.
    if broken := not_finite(state.weights):
        yield f"weights are not finite: {', '.join(broken)}; expected numbers"
    if measured.unranked:
        yield f"{measured.unranked} targets have scores that are not numbers; expected numbers"
    if measured.renamed:
        yield (
            f"{measured.renamed} of its parent's rows are of other items; expected the parent's "
            "vocabulary, without the items that leave, and new items behind it"
        )
    if size > rule.max_bytes:
        yield (
            f"it has {size} bytes; models.max_bytes allows {rule.max_bytes}, as far as "
            "max.message.bytes of models and model-chunks does"
        )
    yield from _uncovered(rule.min_item_coverage, measured.coverage)
    yield from _dropped(rule, measured)
    yield from _lost_places(rule, measured)


def _uncovered(least: float, found: Coverage | None) -> Iterator[str]:
    if found is not None and not found.share >= least * found.possible:
        yield (
            f"its lists hold {found.share:.4%} of the items; trainer.min_item_coverage asks for "
            f"{least:.4%} of the {found.possible:.4%} that they could hold"
        )


def _dropped(rule: GateRule, measured: Measured) -> Iterator[str]:
    known = measured.comparison(ComparisonKind.PARENT)
    new = measured.comparison(ComparisonKind.POPULAR)
    remembered = measured.comparison(ComparisonKind.EXEMPLARS)
    if known and not known.gain_high >= -rule.max_recall_drop:
        yield (
            f"validation {_beside(known, 'the parent')}; trainer.max_recall_drop allows "
            f"{rule.max_recall_drop:g} points less"
        )
    # A list of what few sessions clicked is those clicks, which no model beats.
    says = new is not None and new.sessions >= fewest_trials(rule.max_recall_drop)
    if new and says and not new.gain_high >= -rule.max_recall_drop:
        yield (
            f"validation {_beside(new, 'the list of the most clicked items')} on samples that no "
            f"parent knows; trainer.max_recall_drop allows {rule.max_recall_drop:g} points less"
        )
    if remembered and not remembered.gain_high >= -rule.max_forgetting:
        yield (
            f"on the parent's exemplars {_beside(remembered, 'the parent')}; "
            f"trainer.max_forgetting allows {rule.max_forgetting:g} points less"
        )


def _beside(comparison: GateComparison, other: str) -> str:
    return (
        f"Recall@20 is {comparison.recall20:.2f}, that of {other} {comparison.other_recall20:.2f}: "
        f"{-comparison.gain_high:.2f} points less or more, {CONFIDENCE:.0%} sure by "
        f"{comparison.sessions} sessions"
    )


def _lost_places(rule: GateRule, measured: Measured) -> Iterator[str]:
    if measured.negative_flips and not measured.negative_flips.low <= rule.max_negative_flips:
        yield (
            f"{_surely(measured.negative_flips)} of the exemplars that the parent lists are behind "
            f"{FLIPPED:.0%} of all items; "
            f"trainer.max_negative_flips allows {rule.max_negative_flips:g}%"
        )
    if measured.new_negative_flips and not measured.new_negative_flips.low <= rule.max_recall_drop:
        yield (
            f"{_surely(measured.new_negative_flips)} of what others clicked next are behind "
            f"{FLIPPED:.0%} of all items, on samples that no parent knows; "
            f"trainer.max_recall_drop allows {rule.max_recall_drop:g}%"
        )
    if measured.embedding_drift and not measured.embedding_drift.low <= rule.max_embedding_drift:
        yield (
            f"{_surely(measured.embedding_drift)} of the items that the parent has exemplars of "
            f"have a row that is nothing like the parent's; trainer.max_embedding_drift allows "
            f"{rule.max_embedding_drift:g}%"
        )


def _surely(share: Share) -> str:
    return f"{share.percent:.2f}% (surely {share.low:.2f}%)"


def _some(samples: Samples) -> Samples:
    """Return at most `RANKED` samples, drawn by a fixed seed."""
    order = np.random.default_rng(len(samples)).permutation(len(samples))
    return samples.take(order[:RANKED])


def _is_known(samples: Samples, n_items: int) -> Bools:
    """Return which samples have all items among the first `n_items` (S,)."""
    unknown = np.concatenate([[0], np.cumsum(samples.items > n_items)])
    is_known: Bools = unknown[samples.targets + 1] == unknown[samples.starts]
    return is_known


def _ranks_by(
    state: State,
    both: tuple[Samples, Samples],
    beside: Int32,
    between: Callable[[], None],
    device: torch.device,
) -> tuple[Int64, Int64]:
    """Rank with one version; its model and its output layer are freed afterwards.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Ranks of the first samples' targets and of the items beside them (2, S), and of the other
        samples' targets.
    """
    model = state.model(device=device)
    layer = model.ranked_table()
    one, other = both
    pairs = np.stack([one.labels, beside])
    return rank_items(model, one, pairs, between, layer), rank_samples(model, other, between, layer)


def _compare(
    kind: ComparisonKind, ours: Bools, others: Bools, sessions: Int64, wanted: Bools
) -> Iterator[GateComparison]:
    return compare(kind, ours[wanted], others[wanted], sessions[wanted])


def _compare_order(ranks: Int64, co_clicks: Int64, sessions: Int64) -> Iterator[GateComparison]:
    """Compare the order of pairs with the order by co-clicks, where those differ."""
    is_right, is_right_by_co_clicks = ranks[0] < ranks[1], co_clicks[0] > co_clicks[1]
    differ = co_clicks[0] != co_clicks[1]
    return _compare(ComparisonKind.CO_CLICKS, is_right, is_right_by_co_clicks, sessions, differ)
