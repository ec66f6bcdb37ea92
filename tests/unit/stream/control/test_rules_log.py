from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ader_stream.errors import DecodeError, SettingsError
from ader_stream.metrics import Metrics
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.control.rules_log import (
    RETRY_SECONDS,
    LoggedRules,
    RulesAnnouncement,
    RulesComparison,
    blocks_in_force,
    describe_blocks,
    read_logged_rules,
)
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry, registry_reader
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import DAY_MS, BlockRule
from tests.fakes import FakeKafka, FakeProducer

TOPICS = Topics("ader")
DAYS, WEEKS = BlockRule(0, DAY_MS), BlockRule(0, 7 * DAY_MS)
CHANGED = DAYS.changed(10, WEEKS.origin, WEEKS.length)


def note(kafka: FakeKafka, blocks: BlockRule, gap: str = "30m") -> None:
    announcement = RulesAnnouncement(kafka, TOPICS, blocks.grid, {"sessions.gap": gap})
    announcement.announce(read_logged_rules(kafka, TOPICS))
    announcement.close()


def test_before_anything_is_noted_blocks_are_cut_as_the_settings_say(kafka: FakeKafka) -> None:
    assert read_logged_rules(kafka, TOPICS) == LoggedRules()
    assert blocks_in_force(kafka, TOPICS, DAYS) == DAYS


def test_what_is_noted_is_read_and_what_is_there_is_not_written_again(kafka: FakeKafka) -> None:
    for _ in range(2):
        note(kafka, DAYS)
    assert len(kafka.records(TOPICS.control)) == 2
    assert read_logged_rules(kafka, TOPICS) == LoggedRules(DAYS, {"sessions.gap": "30m"})
    note(kafka, DAYS, gap="5m")
    assert read_logged_rules(kafka, TOPICS).rules == {"sessions.gap": "5m"}


def test_blocks_keep_their_changes_where_the_newest_grid_is_ones_own(kafka: FakeKafka) -> None:
    ask(kafka, TOPICS, Command("blocks", block_rule=CHANGED))
    assert blocks_in_force(kafka, TOPICS, WEEKS) == CHANGED
    note(kafka, WEEKS)
    assert read_logged_rules(kafka, TOPICS).blocks == CHANGED


@pytest.mark.parametrize(
    ("logged", "own", "said"),
    [
        (DAYS, WEEKS, "blocks.length = 7d: blocks are cut with blocks.length = 1d; set it back"),
        (CHANGED, DAYS, "blocks.length = 1d: blocks are cut with blocks.length = 7d from block 10"),
        (
            DAYS,
            BlockRule(5, DAY_MS),
            "blocks.origin = 1970-01-01T00:00:00.005Z: blocks are cut with "
            "blocks.origin = 1970-01-01T00:00:00Z",
        ),
    ],
)
def test_blocks_that_are_cut_in_another_way_are_refused_in_one_line(
    kafka: FakeKafka, logged: BlockRule, own: BlockRule, said: str
) -> None:
    ask(kafka, TOPICS, Command("blocks", block_rule=logged))
    with pytest.raises(SettingsError, match="`ader-stream blocks change`") as refused:
        blocks_in_force(kafka, TOPICS, own)
    assert str(refused.value).startswith(said)
    with pytest.raises(SettingsError):
        note(kafka, own)


def test_a_rule_that_only_a_newer_version_can_read_is_not_passed_over(kafka: FakeKafka) -> None:
    kafka.append(TOPICS.control, b"?", "blocks", [("ader-type", b"Control"), ("ader-schema", b"?")])
    with pytest.raises(DecodeError):
        blocks_in_force(kafka, TOPICS, DAYS)


def test_other_commands_neither_hide_the_rules_nor_are_hidden_by_them(kafka: FakeKafka) -> None:
    commands = [Command("pin", 3), Command("blocks", block_rule=CHANGED), Command("rollback", 1)]
    for number, command in enumerate(commands):
        ask(kafka, TOPICS, Command("forget", key_hash=bytes([number]), salt=b"s"))
        ask(kafka, TOPICS, command)
    registry = Registry(Trust())
    registry_reader(kafka, TOPICS, registry).close()
    assert registry.rules == read_logged_rules(kafka, TOPICS) == LoggedRules(CHANGED)
    assert [c.command for c in registry.commands] == ["pin", "blocks", "rollback"]
    assert len(registry.erasures) == len(commands)


def test_settings_that_are_not_the_sessionizers_are_counted_and_named_once() -> None:
    registry = CollectorRegistry()
    own = {"sessions.gap": "5m", "sessions.late": "carry"}
    comparison = RulesComparison(own, Metrics(registry))
    with capture_logs() as logs:
        for gap in ("30m", "30m", "5m", "1h"):
            comparison.compare(LoggedRules(DAYS, {"sessions.gap": gap, "sessions.late": "carry"}))
            differing = registry.get_sample_value("ader_settings_differing")
            assert differing == (gap != "5m")
    assert [entry["settings"] for entry in logs] == [
        ["sessions.gap: 30m → 5m"],
        ["sessions.gap: 1h → 5m"],
    ]


def test_each_grid_is_described_by_a_line() -> None:
    assert describe_blocks(CHANGED) == [
        "1d, counted from 1970-01-01T00:00:00Z",
        "from block 10 (1970-01-11T00:00:00Z) on: 7d, counted from 1970-01-01T00:00:00Z",
    ]


def test_rules_that_are_lost_are_written_again_and_nobody_waits_for_them(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = FakeProducer(kafka, refusal=KafkaError(KafkaError._MSG_TIMED_OUT))
    monkeypatch.setattr(kafka, "producer", lambda: producer)
    now = 0.0
    rules = {"sessions.gap": "30m"}
    announcement = RulesAnnouncement(kafka, TOPICS, DAYS, rules, clock=lambda: now)
    for _ in range(3):
        announcement.announce(read_logged_rules(kafka, TOPICS))
    with capture_logs() as logged:
        announcement.close()
    assert [line["event"] for line in logged] == ["record not delivered"] * 2
    assert not kafka.records(TOPICS.control)
    producer.refusal = None
    announcement.announce(read_logged_rules(kafka, TOPICS))
    announcement.close()
    assert not kafka.records(TOPICS.control), "what is refused is not asked for without a pause"
    now = RETRY_SECONDS
    announcement.announce(read_logged_rules(kafka, TOPICS))
    announcement.close()
    assert read_logged_rules(kafka, TOPICS) == LoggedRules(DAYS, {"sessions.gap": "30m"})


def test_sessionizers_with_different_rules_do_not_answer_each_other(kafka: FakeKafka) -> None:
    gaps = ("30m", "5m")
    workers = [RulesAnnouncement(kafka, TOPICS, DAYS, {"sessions.gap": gap}) for gap in gaps]
    for _ in range(3):
        for worker in workers:
            worker.announce(read_logged_rules(kafka, TOPICS))
            worker.close()
    assert len(kafka.records(TOPICS.control)) == 3  # the blocks, and the rules of each
    assert read_logged_rules(kafka, TOPICS).rules == {"sessions.gap": "5m"}
