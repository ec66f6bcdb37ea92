from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import CycleResult, train_cycle
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.exemplars.selection import Exemplars
from ader_stream.ader.models.base import Architecture
from ader_stream.ader.models.ranking import top_k
from ader_stream.ader.recipes import Recipe
from ader_stream.stream.model_registry.manifest import GateComparison
from ader_stream.versions.gate.bounds import Share
from ader_stream.versions.gate.comparison import ComparisonKind
from ader_stream.versions.gate.measured import Measured
from ader_stream.versions.gate.measures import Coverage, embedding_drift, renamed
from ader_stream.versions.gate.pairwise_accuracy import PairwiseAccuracy
from ader_stream.versions.gate.verdict import (
    RANKED,
    GateRule,
    WhenUndecided,
    judge,
    measure,
    validation_samples,
    why_rejected,
    why_undecided,
)
from tests.unit.versions.conftest import SEED, walks

RULE = GateRule(
    max_recall_drop=2.0,
    max_forgetting=4.0,
    max_negative_flips=1.0,
    max_embedding_drift=0.5,
    min_item_coverage=0.1,
    max_bytes=1_000,
)


def beside(
    kind: ComparisonKind, gain: float, within: float = 0.5, sessions: int = 1_000
) -> GateComparison:
    """A version so many points above something of recall 50."""
    return GateComparison(
        kind, 2 * sessions, sessions, 50.0 + gain, 50.0, gain, gain - within, gain + within
    )


GOOD = {
    ComparisonKind.PARENT: beside(ComparisonKind.PARENT, -1.0),
    ComparisonKind.POPULAR: beside(ComparisonKind.POPULAR, 5.0),
    ComparisonKind.BLOCK: beside(ComparisonKind.BLOCK, -0.5),
    ComparisonKind.EXEMPLARS: beside(ComparisonKind.EXEMPLARS, -3.0),
}


def measured(*other: GateComparison, **found: Any) -> Measured:
    """What is found of a good version, but for this."""
    comparisons = GOOD | {ComparisonKind(each.against): each for each in other}
    good: dict[str, Any] = {
        "coverage": Coverage(0.5, 1.0),
        "negative_flips": Share(0.9, 0.8, 500),
        "new_negative_flips": Share(0.9, 0.8, 500),
        "embedding_drift": Share(0.4, 0.3, 500),
    }
    return Measured(tuple(comparisons.values()), **good | found)


NONE_HELD_OUT = Samples(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))


def nothing() -> None:
    pass


def test_the_samples_are_those_that_the_cycle_has_held_out(
    cycle: CycleResult, sessions: list[tuple[str, ...]]
) -> None:
    report = cycle.report
    held_out = validation_samples(cycle.held_out, sessions, cycle.state)
    found = measure(held_out, None, cycle.state, nothing)
    assert found.report().samples == len(held_out) > 100
    assert found.report().recall20 == report.validation[report.best_epoch - 1]
    assert found.report().parent_recall20 is None


def test_they_are_the_cycles_own_along_the_chain_too(state: State, recipe: Recipe) -> None:
    later = walks(0, 20) * 5
    result = train_cycle(later, state, recipe, SEED, lambda _: None)
    child, report = result.state, result.report
    samples = validation_samples(result.held_out, later, child)
    found = measure(samples, state, child, nothing)
    assert found.report().recall20 == report.validation[report.best_epoch - 1]
    assert found.report().parent_recall20 is not None


def test_where_nothing_is_held_out_samples_that_were_trained_on_stand_in(
    sessions: list[tuple[str, ...]], state: State
) -> None:
    drawn = validation_samples(NONE_HELD_OUT, sessions, state)
    assert len(drawn) == sum(len(session) - 1 for session in sessions)


def test_samples_with_items_that_the_parent_does_not_know_are_held_against_popular_ones(
    state: State, recipe: Recipe
) -> None:
    later = [("item-0", "item-1", "brand new", "item-2")] * 30
    child = train_cycle(later, state, recipe, SEED, lambda _: None).state
    new = child.vocabulary.index("brand new")
    one, two, three = (child.vocabulary.index(f"item-{n}") for n in range(3))
    items = np.array([one, two, new, three], np.int32)
    samples = Samples(items, np.array([0, 0, 0]), np.array([1, 2, 3]))
    found = measure(samples, state, child, nothing)
    counts = {each.against: each.samples for each in found.comparisons}
    assert counts == {"parent": 1, "popular": 2, "block": 3, "exemplars": len(state.exemplars)}
    assert found.report().samples == 1


def test_coverage_is_the_share_of_items_in_some_list(cycle: CycleResult) -> None:
    state, held_out = cycle.state, cycle.held_out
    prefixes = [
        held_out.items[s:t].tolist() for s, t in zip(held_out.starts, held_out.targets, strict=True)
    ]
    listed = {int(i) for prefix in prefixes for i in top_k(state.model(), [prefix], 20)[0][0]}
    whole = measure(held_out, None, state, nothing).coverage
    assert whole == Coverage(len(listed) / len(state.vocabulary), 1.0)
    single = measure(held_out.take(np.array([0])), None, state, nothing).coverage
    assert single
    assert single.share == single.possible == pytest.approx(20 / len(state.vocabulary))


def test_coverage_is_asked_of_what_the_lists_could_hold(state: State) -> None:
    few = measured(coverage=Coverage(0.01, 0.09))
    assert why_rejected(RULE, few, state, 0) is None
    assert "1.0000%" in str(why_rejected(RULE, measured(coverage=Coverage(0.01, 0.11)), state, 0))


def test_where_there_is_no_sample_nothing_is_measured_and_nothing_decided(state: State) -> None:
    found = measure(NONE_HELD_OUT, None, state, nothing)
    assert found == Measured()
    reported = found.report()
    assert (reported.samples, reported.recall20, reported.exemplar_recall20) == (0, None, None)
    assert why_rejected(RULE, found, state, 0) is None
    assert "on 0 sessions" in str(why_undecided(RULE, found))


def test_a_good_version_passes(state: State) -> None:
    verdict = judge(RULE, measured(), state, 1_000)
    assert (verdict.rejection, verdict.joins, verdict.measured.undecided) == (None, False, None)


@pytest.mark.parametrize(
    ("found", "size", "reason"),
    [
        (
            measured(beside(ComparisonKind.PARENT, -2.6)),
            0,
            "validation Recall@20 is 47.40, that of the parent 50.00: 2.10 points less or more",
        ),
        (
            measured(beside(ComparisonKind.POPULAR, -2.6)),
            0,
            "that of the list of the most clicked items 50.00: 2.10 points less",
        ),
        (measured(coverage=Coverage(0.09, 1.0)), 0, "lists hold 9.0000% of the items"),
        (
            measured(beside(ComparisonKind.EXEMPLARS, -4.6)),
            0,
            "on the parent's exemplars Recall@20 is 45.40, that of the parent 50.00",
        ),
        (
            measured(negative_flips=Share(1.5, 1.1, 500)),
            0,
            "1.50% (surely 1.10%) of the exemplars that the parent lists are behind 25%",
        ),
        (
            measured(new_negative_flips=Share(3.5, 2.1, 500)),
            0,
            "3.50% (surely 2.10%) of what others clicked next are behind 25% of all items",
        ),
        (
            measured(embedding_drift=Share(0.9, 0.6, 500)),
            0,
            "0.90% (surely 0.60%) of the items that the parent has exemplars of have a row that",
        ),
        (measured(renamed=3), 0, "3 of its parent's rows are of other items"),
        (measured(), 1_001, "it has 1001 bytes; models.max_bytes allows 1000"),
    ],
)
def test_a_version_that_fails_is_reported_by_what(
    state: State, found: Measured, size: int, reason: str
) -> None:
    assert reason in (why_rejected(RULE, found, state, size) or "")


@pytest.mark.parametrize(
    "found",
    [
        *(
            measured(beside(kind, math.nan))
            for kind in (ComparisonKind.PARENT, ComparisonKind.POPULAR, ComparisonKind.EXEMPLARS)
        ),
        measured(coverage=Coverage(math.nan, 1.0)),
        *(
            measured(**{name: Share(math.nan, math.nan, 9)})
            for name in ("negative_flips", "new_negative_flips", "embedding_drift")
        ),
    ],
)
def test_a_measure_that_is_not_a_number_does_not_pass(state: State, found: Measured) -> None:
    assert "nan" in str(why_rejected(RULE, found, state, 0))


def test_scores_that_are_not_numbers_do_not_pass(
    cycle: CycleResult,
) -> None:
    """All weights are finite: the layer norm's is so large that the scores are not."""
    samples, weights = cycle.held_out, cycle.state.weights
    broken = replace(cycle.state, weights=weights | {"norm.weight": torch.full((8,), 3e38)})
    found = measure(samples, None, broken, nothing)
    assert 0 < found.unranked <= len(samples)
    reason = why_rejected(RULE, found, broken, 0)
    assert reason == f"{found.unranked} targets have scores that are not numbers; expected numbers"


@pytest.mark.parametrize(
    ("gain", "within", "verdict"),
    [
        (-3.0, 0.5, "rejected"),
        (-3.0, 2.0, "undecided"),
        (-1.0, 2.0, "undecided"),
        (-1.0, 0.5, "accepted"),
        (9.0, 20.0, "undecided"),
    ],
)
def test_what_lies_within_the_bounds_is_neither_held_against_a_version_nor_for_it(
    state: State, gain: float, within: float, verdict: str
) -> None:
    comparisons = (
        beside(kind, gain, within) for kind in (ComparisonKind.PARENT, ComparisonKind.BLOCK)
    )
    found = measured(*comparisons)
    rejection, undecided = why_rejected(RULE, found, state, 0), why_undecided(RULE, found)
    assert verdict == ("rejected" if rejection else "undecided" if undecided else "accepted")


def test_exemplars_speak_for_a_version_whose_block_has_too_few_sessions_to() -> None:
    """With 2 points allowed, 133 sessions without any loss are the fewest that prove it."""
    few = beside(ComparisonKind.BLOCK, 0.0, 20.0, sessions=132)
    assert why_undecided(RULE, measured(few)) is None
    assert why_undecided(RULE, measured(few, beside(ComparisonKind.EXEMPLARS, -3.6))) is not None
    assert why_undecided(RULE, measured(replace(few, sessions=133))) is not None
    alone = Measured((few,))
    assert "on 132 sessions" in str(why_undecided(RULE, alone))


KNOWS, GUESSES = Share(90.0, 85.0, 900), Share(52.0, 49.0, 900)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (PairwiseAccuracy(KNOWS, KNOWS, None), None),
        (PairwiseAccuracy(KNOWS, GUESSES, KNOWS), None),
        (PairwiseAccuracy(KNOWS, None, None, held_out=True), None),
        (PairwiseAccuracy(GUESSES, KNOWS, KNOWS), "too little is known of it"),
        (
            PairwiseAccuracy(Share(math.nan, math.nan, 900), KNOWS, KNOWS),
            "too little is known of it",
        ),
        (PairwiseAccuracy(KNOWS, None, None), "too little is known of its block"),
        (PairwiseAccuracy(KNOWS, GUESSES, GUESSES), "too little is known of its block"),
        (
            PairwiseAccuracy(Share(52.0, 20.0, 9), GUESSES, GUESSES),
            None,
        ),  # the exemplars speak for it
    ],
)
def test_a_version_has_to_have_learnt_what_is_no_chance(
    found: PairwiseAccuracy, verdict: str | None
) -> None:
    assert (verdict or "None") in str(why_undecided(RULE, measured(pairwise_accuracy=found)))


@pytest.mark.parametrize(
    ("gain", "within", "held_out", "has_exemplars", "is_known"),
    [
        (-1.0, 0.5, False, False, True),
        (-1.0, 1.5, False, False, False),  # it may know too little
        (-1.0, 1.5, False, True, True),  # but its parent's exemplars speak for it
        (-3.0, 0.5, False, True, False),  # not against what is sure
        (-30.0, 10.0, True, False, True),
        (-30.0, 2.0, True, False, False),
        (math.nan, 0.0, True, False, False),
        (math.nan, 0.0, False, False, False),
    ],
)
def test_a_version_has_to_know_what_co_clicks_do(
    gain: float, within: float, *, held_out: bool, has_exemplars: bool, is_known: bool
) -> None:
    beside_co_clicks = GateComparison(
        "co-clicks", 900, 900, 70, 98, gain, gain - within, gain + within
    )
    accuracy = PairwiseAccuracy(KNOWS, None, KNOWS, held_out)
    first = (GOOD[ComparisonKind.POPULAR], GOOD[ComparisonKind.BLOCK])
    comparisons = GOOD.values() if has_exemplars else first
    found = Measured((*comparisons, beside_co_clicks), accuracy)
    assert (why_undecided(RULE, found) is None) == is_known


@pytest.mark.parametrize(("count", "is_rejected"), [(2, False), (900, True)])
def test_a_list_of_what_few_sessions_clicked_rejects_nothing(
    state: State, count: int, *, is_rejected: bool
) -> None:
    """Those are all their clicks, which a mature model hardly learns in a step."""
    behind = GateComparison("popular", 3 * count, count, 17, 100, -83, -100, -10)
    rejection = judge(RULE, measured(behind), state, 0).rejection
    assert ("the list of the most clicked items" in str(rejection)) == is_rejected


def test_co_clicks_that_tell_nothing_ask_for_nothing() -> None:
    behind = GateComparison("co-clicks", 900, 900, 45, 45, 0, -1, 1)
    assert (
        why_undecided(
            RULE, measured(behind, pairwise_accuracy=PairwiseAccuracy(KNOWS, KNOWS, GUESSES))
        )
        is None
    )


def test_without_a_parent_few_sessions_speak_for_nothing() -> None:
    comparisons = (GOOD[ComparisonKind.POPULAR], GOOD[ComparisonKind.BLOCK])
    few = Share(52.0, 20.0, 9)
    found = Measured(comparisons, PairwiseAccuracy(few, None, few))
    assert "in 52.0% of 9 sessions" in str(why_undecided(RULE, found))


@pytest.mark.parametrize(("samples", "joins"), [(RANKED - 1, True), (RANKED, False)])
def test_a_block_joins_the_next_one_only_where_more_sessions_can_tell_more(
    state: State, samples: int, joins: bool
) -> None:
    """Visits at random would be joined for ever."""
    block = replace(GOOD[ComparisonKind.BLOCK], samples=samples)
    verdict = judge(RULE, Measured((block,), PairwiseAccuracy(GUESSES, None, GUESSES)), state, 0)
    assert verdict.joins == joins
    assert ("hold sessions out (validation_share" in str(verdict.rejection)) == (not joins)


@pytest.mark.parametrize(
    ("when_undecided", "is_rejected", "joins"),
    [("accept", False, False), ("join", True, True), ("reject", True, False)],
)
def test_a_rule_says_what_is_done_with_a_version_that_is_undecided(
    state: State, when_undecided: str, is_rejected: bool, joins: bool
) -> None:
    rule = replace(RULE, when_undecided=WhenUndecided(when_undecided))
    verdict = judge(rule, Measured(), state, 0)
    assert (verdict.rejection is not None, verdict.joins) == (is_rejected, joins)
    assert "too little is known" in str(verdict.measured.undecided)
    if is_rejected:
        assert f"trainer.when_undecided = {when_undecided}" in str(verdict.rejection)


def test_a_vocabulary_that_is_not_the_parents_is_found(
    cycle: CycleResult,
) -> None:
    state = cycle.state
    first, second, *others = state.vocabulary.items
    child = replace(state, vocabulary=Vocabulary.of([second, first, *others]))
    assert measure(cycle.held_out, state, child, nothing).renamed == 2
    grown = replace(state, vocabulary=Vocabulary.of([first, second, *others, "new"]))
    assert measure(NONE_HELD_OUT, state, state, nothing).renamed == 0
    assert renamed(state, grown) == 0
    assert renamed(grown, state) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_rejected(state: State, value: float) -> None:
    name = "norm.weight"
    broken = replace(state, weights=state.weights | {name: torch.full((8,), value)})
    reason = why_rejected(RULE, measured(), broken, 0)
    assert reason == f"weights are not finite: {name}; expected numbers"


def with_exemplars(recipe: Recipe, count: int) -> State:
    """A version of 200 items that remembers its best guess after the first one so many times."""
    sessions = [(f"item-{n}", f"item-{n + 1}") for n in range(0, 200, 2)]
    state = train_cycle(sessions, None, replace(recipe, max_epochs=1), SEED, lambda _: None).state
    best = int(top_k(state.model(), [[1]], 1)[0][0, 0])
    items = np.tile(np.array([1, best], np.int32), count)
    return replace(state, exemplars=Exemplars(items, np.arange(0, 2 * count + 1, 2)))


def percent(share: Share | None) -> float | None:
    return share.percent if share else None


@pytest.mark.parametrize("exemplars", [5, 500])
def test_an_item_that_was_listed_and_is_far_behind_is_a_negative_flip(
    recipe: Recipe, exemplars: int
) -> None:
    state = with_exemplars(recipe, exemplars)
    table = state.weights["items.weight"].clone()
    table[state.exemplars.items[1] - 1] *= -1
    child = replace(state, weights=state.weights | {"items.weight": table})
    found = [measure(NONE_HELD_OUT, state, each, nothing) for each in (state, child)]
    assert [percent(each.negative_flips) for each in found] == [0.0, 100.0]


def of_rows(table: torch.Tensor, known: int) -> State:
    """A version with exemplars of so many items, and of no other use."""
    items = np.repeat(np.arange(1, known + 1, dtype=np.int32), 2)
    exemplars = Exemplars(items, np.arange(0, 2 * known + 1, 2))
    vocabulary = Vocabulary.of(f"item-{n}" for n in range(len(table)))
    idle = np.zeros(len(table), np.int32)
    return State({"items.weight": table}, {}, exemplars, vocabulary, Architecture(8, 0, 5), idle)


def drifted_share(table: torch.Tensor, child: torch.Tensor, known: int) -> float | None:
    return percent(embedding_drift(of_rows(table, known), of_rows(child, known)))


def test_a_row_that_another_has_taken_the_place_of_has_drifted() -> None:
    table = torch.randn(1_000, 64, generator=torch.Generator().manual_seed(SEED))
    child = table + 0.5 * torch.randn_like(table)
    assert drifted_share(table, child, known=1_000) == 0.0
    child[:10] = table[10:20]
    assert drifted_share(table, child, known=1_000) == 1.0
    child[-10:] = table[:10]  # of those there is no exemplar
    assert drifted_share(table, child, known=800) == 1.25


def test_where_the_table_has_turned_as_a_whole_nothing_is_reported_of_rows() -> None:
    table = torch.randn(1_000, 64, generator=torch.Generator().manual_seed(SEED))
    child = table + 3 * torch.randn_like(table)
    assert drifted_share(table, child, known=1_000) is None
    assert drifted_share(table, table, known=9) == 0.0
