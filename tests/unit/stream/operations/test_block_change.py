"""From where on blocks can be cut in another way: behind everything that names one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ader_stream.errors import AderError, SettingsError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.control.rules_log import read_logged_rules
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry, registry_reader
from ader_stream.stream.operations.block_change import BlockChangePlan, change_blocks, plan_change
from ader_stream.stream.scores.score_log import Score, ScoreKey, encode_score
from ader_stream.stream.sessions.records.partition_state import PARTITION_KEY
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import DAY_MS, BlockRule
from tests.fakes import FakeKafka, complete_manifest, example

TOPICS = Topics("ader")
DAYS, WEEKS = BlockRule(0, DAY_MS), BlockRule(0, 7 * DAY_MS)
INFERENCE = TOPICS.group("inference")


@pytest.fixture
def kafka() -> FakeKafka:
    """A system that has cut blocks of a day."""
    kafka = FakeKafka({TOPICS.clicks: 2})
    ask(kafka, TOPICS, Command("blocks", block_rule=DAYS))
    return kafka


def add_state(kafka: FakeKafka, partition: int, open_block: int) -> None:
    state = example("PartitionState") | {"watermark": open_block * DAY_MS, "open_block": open_block}
    add_to_changelog(kafka, partition, PARTITION_KEY, "PartitionState", state)


def add_to_changelog(
    kafka: FakeKafka, partition: int, key: bytes, name: str, value: dict[str, Any]
) -> None:
    data, headers = encode(name, value)
    kafka.append(TOPICS.sessionizer_state, data, key, headers, partition)


def add_score(kafka: FakeKafka, block: int) -> None:
    key, value, headers = encode_score(ScoreKey(block, None, 1), Score(5))
    kafka.append(TOPICS.scores, value, key, headers)


def planned(kafka: FakeKafka, grid: BlockRule = WEEKS) -> BlockChangePlan:
    registry = Registry(Trust())
    registry_reader(kafka, TOPICS, registry).close()
    registry.manifests |= {1: complete_manifest(1, blocks=[2, 3])}
    return plan_change(kafka, TOPICS, 2, registry, grid)


def test_the_furthest_open_block_of_all_partitions_is_the_last_one_as_before(
    kafka: FakeKafka,
) -> None:
    add_state(kafka, 0, 17)
    add_state(kafka, 1, 15)
    plan = planned(kafka)
    assert plan.last == (17, "open on partition 0")
    assert plan.after == DAYS.changed(18, 0, 7 * DAY_MS)
    assert [plan.after.start(block) // DAY_MS for block in (17, 18, 19, 20)] == [17, 18, 21, 28]


def test_a_session_in_a_block_that_is_not_open_yet_counts(kafka: FakeKafka) -> None:
    add_state(kafka, 0, 17)
    session = {
        "block": 19,
        "times": [19 * DAY_MS],
        "items": ["x"],
        "carried": [],
        "extra": [],
        "is_full": False,
    }
    value = {"sessions": [session], "capped_until": None}
    add_to_changelog(kafka, 1, b"a", "OpenSessions", value)
    assert planned(kafka).after.changes[0].first_block == 20


def test_inference_may_be_further_than_the_sessionizer(kafka: FakeKafka) -> None:
    add_state(kafka, 0, 17)
    places = [(INFERENCE, (TOPICS.clicks, partition)) for partition in range(2)]
    kafka.committed |= dict.fromkeys(places, 7)
    kafka.metadata[places[1]] = json.dumps({"open_block": 21})
    assert planned(kafka).last == (21, "open to inference on partition 1")
    add_score(kafka, 22)
    assert planned(kafka).last == (22, "scored on partition 1")


def test_blocks_of_versions_keep_their_numbers_where_nothing_else_is_left(kafka: FakeKafka) -> None:
    assert planned(kafka).last == (3, "trained by version 1")


def test_a_second_change_before_the_first_begins_takes_its_place(kafka: FakeKafka) -> None:
    add_state(kafka, 0, 17)
    change_blocks(kafka, TOPICS, planned(kafka))
    second = planned(kafka, BlockRule(0, 3 * DAY_MS))
    assert second.after == DAYS.changed(18, 0, 3 * DAY_MS)
    change_blocks(kafka, TOPICS, second)
    assert read_logged_rules(kafka, TOPICS).blocks == second.after


def test_changes_add_up_and_every_one_is_kept(kafka: FakeKafka) -> None:
    add_state(kafka, 0, 17)
    change_blocks(kafka, TOPICS, planned(kafka))
    kafka.log[TOPICS.sessionizer_state, 0].clear()
    add_score(kafka, 25)
    change_blocks(kafka, TOPICS, planned(kafka, BlockRule(0, 3 * DAY_MS)))
    rule = read_logged_rules(kafka, TOPICS).blocks
    assert rule is not None
    assert [change.first_block for change in rule.changes] == [18, 26]
    assert rule.grid == BlockRule(0, 3 * DAY_MS)


def test_the_grid_of_now_is_no_change(kafka: FakeKafka) -> None:
    plan = planned(kafka, DAYS)
    assert plan.before == plan.after == DAYS


def test_blocks_of_an_unknown_rule_cannot_be_changed(kafka: FakeKafka) -> None:
    kafka.log[TOPICS.control, 0].clear()
    add_state(kafka, 1, 15)
    with pytest.raises(SettingsError, match=r"block 15 is known .* set blocks\.length and"):
        planned(kafka)


def test_where_nothing_names_a_block_the_new_rule_is_the_whole_one() -> None:
    kafka = FakeKafka({TOPICS.clicks: 2})
    plan = plan_change(kafka, TOPICS, 2, Registry(Trust()), WEEKS)
    assert (plan.last, plan.after) == (None, WEEKS)


@pytest.mark.parametrize("worker", ["sessionizer", "inference"])
def test_nothing_changes_under_a_worker_that_runs(kafka: FakeKafka, worker: str) -> None:
    add_state(kafka, 0, 17)
    kafka.members[TOPICS.group(worker)] = ["here"]
    with pytest.raises(AderError, match=rf"ader\.{worker}: worker at here.* stop them first"):
        change_blocks(kafka, TOPICS, planned(kafka))
    assert read_logged_rules(kafka, TOPICS).blocks == DAYS
