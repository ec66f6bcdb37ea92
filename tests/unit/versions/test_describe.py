from __future__ import annotations

from dataclasses import asdict, astuple, replace
from itertools import combinations

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import PAPER
from ader_stream.ader.report import NOTHING_DONE
from ader_stream.stream.blocks.columns import SessionColumns
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.model_registry.lineage import trained_spans
from ader_stream.types import Session
from ader_stream.versions.describe import VersionInputs, describe_inputs, describe_version
from tests.fakes import example_manifest

RECIPE = replace(PAPER, hidden=8, blocks=1, maxlen=5, max_epochs=1, exemplars=9)
MAKING = VersionInputs("ader", "paper", RECIPE, seed=3)
SESSIONS = tuple(Session(str(n), ("a", "b", "c", "b"), (0, 1, 2, 3)) for n in range(8))
BLOCK = TrainingBlock((4, 5), SessionColumns.of(SESSIONS), {1: 0, 0: 10}, {1: 7, 0: 19})


def test_a_manifest_says_how_its_version_was_made() -> None:
    report = train_cycle([s.items for s in SESSIONS], None, RECIPE, 3, lambda _: None).report
    made = describe_version(BLOCK, MAKING, previous=6, parent=5, report=report, seconds=1.5)
    assert (made.version, made.parent, made.predecessor) == (7, 5, 6)
    assert (made.status, made.rejection, made.blocks) == ("accepted", None, (4, 5))
    assert (made.method, made.recipe, made.seed) == ("ader", "paper", 3)
    assert made.frequent_items == ("b", "a", "c")
    assert made.report.losses == tuple(report.losses)
    assert (made.report.sessions, made.report.clicks) == (8, 32)
    assert made.run.train_seconds == 1.5
    assert set(made.run.libraries) == {"torch", "numpy", "safetensors", "python"}


def test_a_frequent_item_whose_id_is_too_long_for_a_manifest_is_left_out() -> None:
    frequent = [*("x" * 60_000 + str(n) for n in range(98)), "hat", "é" * 300]
    report = replace(NOTHING_DONE, frequent_items=frequent)
    made = describe_version(BLOCK, MAKING, previous=None, parent=None, report=report)
    assert made.frequent_items == ("hat", "é" * 300)


def test_every_hyper_parameter_is_in_it() -> None:
    made = describe_version(BLOCK, MAKING, previous=None, parent=None)
    named = {**made.hyperparameters, **made.choices}
    assert named.keys() == asdict(RECIPE).keys()
    assert (named["hidden"], named["output_precision"]) == (8, RECIPE.output_precision)


def test_every_partitions_range_of_offsets_is_in_it() -> None:
    offsets = describe_version(BLOCK, MAKING, previous=None, parent=None).run.offsets
    assert [astuple(place) for place in offsets] == [(0, 10, 19), (1, 0, 7)]


def test_the_sessions_topic_and_the_times_of_its_sessions_are_in_it() -> None:
    block = replace(BLOCK, topic_id="abc")
    run = describe_version(block, MAKING, previous=None, parent=None).run
    assert (run.sessions_topic_id, run.first_time, run.last_time) == ("abc", 0, 3)
    empty = describe_version(
        replace(block, sessions=SessionColumns.of(())), MAKING, previous=None, parent=None
    )
    assert (empty.run.first_time, empty.run.last_time) == (None, None)


def test_a_block_that_is_to_be_joined_was_neither_read_nor_trained_on() -> None:
    """Or its sessions would be passed over where the topic is another one later."""
    block = replace(BLOCK, topic_id="abc").unread()
    made = describe_version(block, MAKING, previous=None, parent=None)
    assert [astuple(place) for place in made.run.offsets] == [(0, 10, 10), (1, 0, 0)]
    assert (made.run.first_time, made.run.last_time) == (None, None)
    assert made.report.clicks == 32
    assert list(trained_spans({1: made}, "another")) == []


def test_a_block_that_came_to_nothing_is_a_rejected_version_with_its_counts() -> None:
    made = describe_version(BLOCK, MAKING, previous=1, parent=1, rejection="no sub-sequence")
    assert (made.status, made.rejection) == ("rejected", "no sub-sequence")
    assert (made.report.clicks, made.report.epochs) == (32, 0)


def test_the_inputs_of_a_cycle_are_all_that_decides_it() -> None:
    forgotten = replace(BLOCK, sessions=SessionColumns.of(SESSIONS[1:]))
    elsewhere = replace(BLOCK, next_offsets={1: 7, 0: 20})
    another_seed = replace(MAKING, seed=4)
    parent = example_manifest(digest="abc")
    found = [
        describe_inputs(BLOCK, MAKING, None),
        describe_inputs(BLOCK, MAKING, parent),
        describe_inputs(forgotten, MAKING, parent),
        describe_inputs(elsewhere, MAKING, parent),
        describe_inputs(BLOCK, another_seed, parent),
    ]
    assert all(one != other for one, other in combinations(found, 2))
    assert found[0] == describe_inputs(BLOCK, MAKING, None)


def test_what_has_left_and_by_which_rule_is_in_it() -> None:
    report = replace(NOTHING_DONE, left_items=7, recall_at_risk=0.5)
    making = replace(MAKING, item_retention=4)
    made = describe_version(BLOCK, making, previous=None, parent=None, report=report)
    assert made.item_retention == 4
    assert (made.report.left_items, made.report.recall_at_risk) == (7, 0.5)
    assert describe_inputs(BLOCK, making, None) != describe_inputs(BLOCK, MAKING, None)
