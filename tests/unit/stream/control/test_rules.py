"""Each setting that decides the sessions: when it may change, and what holds then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ader_stream.errors import SettingsError, TopicError
from ader_stream.metrics import Metrics
from ader_stream.settings import Settings, describe_settings, load_settings
from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, encode_click
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.control.rules import PARTITIONS, RULES, MayChange
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.sessions.records.partition_state import PARTITION_KEY, RULES_KEY
from ader_stream.stream.sessions.task import SessionizerRules, SessionizerTasks
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, Click
from tests.fakes import FakeKafka, FakeProducer, FakeRecord
from tests.unit.test_settings import OTHER

NAMED = [name for name, rule in RULES.items() if rule.is_named and name != PARTITIONS]
NOW = 1_764_450_000_000
TOPICS = Topics("ader")

DECIDE_NO_SESSION = {
    "clicks.extra_fields",
    "clicks.avro_schema",
    "clicks.registry_url",
    "clicks.registry_user",
    "clicks.registry_password_file",
    "clicks.registry_token_file",
    "clicks.registry_ca_file",
    "clicks.start",
    "clicks.check_times",
    "blocks.min_sessions",
}
"""Settings of these groups that a partition's state does not depend on."""


class Sessionizer:
    """The task of partition 0 with the settings of a process."""

    def __init__(self, kafka: FakeKafka, settings: Settings) -> None:
        self.kafka = kafka
        self.registry = CollectorRegistry()
        self._format = settings.click_format
        rules = SessionizerRules(
            settings.block_rule,
            settings.session_rule,
            settings.intake_rule,
            named=settings.rules,
        )
        decoder = ClickDecoder(self._format)
        open_tasks = SessionizerTasks(
            kafka, TOPICS, decoder, rules, Metrics(self.registry), Erasures()
        )
        self.task = open_tasks([0])[0]

    def restore(self, next_offset: int = 0) -> Sessionizer:
        given = Committed(next_offset)
        place = self.task.place(given if next_offset else None, Extent(0, 1_000))
        self.next_offset = self.task.restore(place or given, 0)
        return self

    def take(self, *clicks: Click) -> None:
        for click in clicks:
            value = encode_click(click, self._format)
            record = FakeRecord(value, b"k", offset=self.next_offset, timestamp=click.time + 1)
            self.task.process([record])
            self.next_offset += 1

    def heartbeat(self, watermark: int) -> None:
        headers = [(WATERMARK_HEADER, str(watermark).encode())]
        record = FakeRecord(headers=headers, offset=self.next_offset, timestamp=watermark)
        self.task.process([record])
        self.next_offset += 1

    def commit(self) -> None:
        transaction, producer = Transaction(), FakeProducer(self.kafka)
        self.task.write(transaction, self.next_offset)
        producer.begin_transaction()
        transaction.send(producer)
        producer.commit_transaction(1)
        self.task.committed()

    def early(self, bound: str) -> float | None:
        labels = {"partition": "0", "bound": bound}
        return self.registry.get_sample_value("ader_sessions_closed_early_total", labels)


def changed(name: str, value: Any) -> Settings:
    group, field = name.split(".")
    groups = {group: {field: json.loads(value) if str(value).startswith("[") else value}}
    if name == "sessions.max_age":
        groups["sessions"]["gap"] = "30m"
    return load_settings(**groups)


def written(kafka: FakeKafka, topic: str, *types: str) -> list[dict[str, Any]]:
    records = kafka.records(topic, 0)
    decoded = [decode(r.value(), r.headers()) for r in records if r.value() is not None]
    return [value for name, value in decoded if name in types]


def items_of(kafka: FakeKafka) -> list[list[str]]:
    batches = written(kafka, TOPICS.sessions, "SessionBatch")
    return [session["items"] for batch in batches for session in batch["sessions"]]


def click(key: str, minutes: float, **fields: Any) -> Click:
    return Click(key, f"{key}{minutes:g}", NOW + int(minutes * MINUTE_MS), **fields)


def begun(kafka: FakeKafka, settings: Settings, clicks: Sequence[Click] = (click("a", 0),)) -> int:
    """Take clicks by some settings; return the next offset."""
    first = Sessionizer(kafka, settings).restore()
    first.take(*clicks)
    first.commit()
    return first.next_offset


# --- the table


def test_every_rule_is_a_setting_and_what_decides_the_sessions_is_a_rule() -> None:
    settings = {name for name, *_ in describe_settings()}
    assert set(RULES) - {PARTITIONS} <= settings
    of_groups = {s for s in settings if s.split(".")[0] in ("clicks", "sessions", "blocks")}
    undecided = of_groups ^ DECIDE_NO_SESSION ^ set(NAMED)
    assert not undecided, "name a new setting in RULES, or in DECIDE_NO_SESSION"
    assert load_settings().rules.keys() == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_a_rule_may_change_when_the_table_says_so(name: str) -> None:
    kafka, then, now = FakeKafka(), load_settings(), changed(name, OTHER[name])
    next_offset = begun(kafka, then)
    second = Sessionizer(kafka, now)
    if RULES[name].may_change is not MayChange.ANY_TIME:
        with pytest.raises(SettingsError) as refused:
            second.restore(next_offset)
        for expected in (name, then.rules[name], now.rules[name], "sessionizer-state/0", "set it"):
            assert expected in str(refused.value)
        return
    with capture_logs() as logs:
        second.restore(next_offset)
    [said] = [entry["rules"] for entry in logs if entry["event"] == "rules change"]
    assert said == [f"{name}: {then.rules[name] or 'empty'} → {now.rules[name] or 'empty'}"]
    second.commit()
    for topic in (TOPICS.sessions, TOPICS.sessionizer_state):
        before, after = written(kafka, topic, "RulesChange")
        assert (before["next_offset"], after["next_offset"]) == (0, next_offset)
        assert {n for n in NAMED if before["rules"][n] != after["rules"][n]} == {name}
        assert after["rules"][name] == now.rules[name]


@pytest.mark.parametrize("name", ["blocks.origin", "blocks.length"])
def test_blocks_may_change_where_the_log_says_from_which_one_on(name: str) -> None:
    kafka, now = FakeKafka(), changed(name, OTHER[name])
    next_offset = begun(kafka, load_settings())
    before = load_settings().block_rule
    open_block = before.block_of(NOW)
    rule = before.changed(open_block + 1, now.blocks.origin, now.blocks.length)
    ask(kafka, TOPICS, Command("blocks", block_rule=rule))
    second = Sessionizer(kafka, now).restore(next_offset)
    for block in (open_block + 1, open_block + 3):
        second.heartbeat(rule.start(block))
    second.commit()
    ends = [end["block"] for end in written(kafka, TOPICS.sessions, "BlockEnd")]
    assert ends == [open_block - 1, open_block, open_block + 2]
    assert Sessionizer(kafka, now).restore(second.next_offset).task._rules_change is None


def test_blocks_of_a_rule_that_the_log_does_not_know_are_refused() -> None:
    kafka, now = FakeKafka(), changed("blocks.length", "1d")
    next_offset = begun(kafka, changed("blocks.length", "3d"))
    unknown = BlockRule(0, 7 * DAY_MS).changed(10_000, now.blocks.origin, DAY_MS)
    ask(kafka, TOPICS, Command("blocks", block_rule=unknown))
    with pytest.raises(SettingsError, match=r"blocks\.length = 1d: .* was made with 3d"):
        Sessionizer(kafka, now).restore(next_offset)


# --- what is written


def test_rules_stand_before_all_that_comes_of_them_and_once() -> None:
    kafka = FakeKafka()
    first = Sessionizer(kafka, load_settings()).restore()
    for minutes in (0, 1):
        first.take(click("a", minutes))
        first.commit()
    types = [decode(r.value(), r.headers())[0] for r in kafka.records(TOPICS.sessions, 0)]
    assert types == ["RulesChange", "BlockEnd"]
    [change] = written(kafka, TOPICS.sessions, "RulesChange")
    assert change["partition"] == 0
    assert change["rules"] == load_settings().rules | {PARTITIONS: "1"}
    assert Sessionizer(kafka, load_settings()).restore(2).task._rules_change is None


def test_an_older_state_that_names_no_rules_takes_those_of_now_and_says_so() -> None:
    kafka = FakeKafka()
    value = {"watermark": NOW, "open_block": load_settings().block_rule.block_of(NOW), "counts": []}
    kafka.append(TOPICS.sessionizer_state, *headed("PartitionState", value | {"next_offset": 5}))
    with capture_logs() as logs:
        second = Sessionizer(kafka, changed("sessions.gap", "5m")).restore(5)
    assert [e["event"] for e in logs] == ["the state names no rules; the current ones apply"]
    second.commit()
    assert written(kafka, TOPICS.sessions, "RulesChange")[0]["rules"]["sessions.gap"] == "5m"


def test_an_older_state_of_other_blocks_is_refused_though_it_names_no_rules() -> None:
    kafka = FakeKafka()
    value = {"watermark": NOW, "open_block": BlockRule(0, DAY_MS).block_of(NOW), "counts": []}
    kafka.append(TOPICS.sessionizer_state, *headed("PartitionState", value | {"next_offset": 5}))
    with pytest.raises(SettingsError, match=r"blocks\.length = 7d.* but block 20421 is open"):
        Sessionizer(kafka, load_settings()).restore(5)


def headed(name: str, value: dict[str, Any]) -> tuple[bytes, bytes, Any]:
    data, headers = encode(name, value)
    return data, PARTITION_KEY, headers


# --- what holds then


def test_a_session_that_is_open_continues_under_another_gap() -> None:
    kafka = FakeKafka()
    next_offset = begun(kafka, load_settings(), [click("a", 0), click("a", 20)])
    second = Sessionizer(kafka, changed("sessions.gap", "5m")).restore(next_offset)
    second.take(click("a", 24), click("a", 40), click("b", 60))
    second.commit()
    assert items_of(kafka) == [["a0", "a20", "a24"], ["a40"]]


def test_what_a_gap_has_closed_does_not_begin_again_under_a_longer_one() -> None:
    kafka = FakeKafka()
    short = changed("sessions.gap", "5m")
    next_offset = begun(kafka, short, [click("a", 0), click("b", 10)])
    second = Sessionizer(kafka, changed("sessions.gap", "1h")).restore(next_offset)
    second.take(click("a", 0), click("z", 100))
    second.commit()
    batches = written(kafka, TOPICS.sessions, "SessionBatch")
    firsts = [(s["key"], s["times"][0]) for batch in batches for s in batch["sessions"]]
    assert len(set(firsts)) == len(firsts) == 3


@pytest.mark.parametrize(
    ("name", "now"), [("clicks.session_field", "user"), ("clicks.item_field", "sku")]
)
def test_what_is_open_closes_where_keys_or_items_mean_something_else(name: str, now: str) -> None:
    kafka = FakeKafka()
    next_offset = begun(kafka, load_settings(), [click("a", 0), click("b", 1)])
    second = Sessionizer(kafka, changed(name, now)).restore(next_offset)
    assert second.early("rules") == 2
    second.take(click("a", 2))
    second.commit()
    assert items_of(kafka) == [["a0"], ["b1"]]


def test_event_ids_of_another_field_are_no_duplicates_and_the_next_owner_knows_none() -> None:
    kafka = FakeKafka()
    then = changed("clicks.event_id_field", "id")
    next_offset = begun(kafka, then, [click("a", 0, event_id="1"), click("a", 1, event_id="2")])
    second = Sessionizer(kafka, changed("clicks.event_id_field", "number")).restore(next_offset)
    second.take(click("a", 2, event_id="1"))
    second.commit()
    third = Sessionizer(kafka, changed("clicks.event_id_field", "number")).restore(next_offset + 1)
    third.take(click("a", 3, event_id="1"), click("a", 4, event_id="2"), click("b", 60))
    third.commit()
    assert items_of(kafka) == [["a0", "a1", "a2", "a4"]]


def test_the_oldest_sessions_above_a_smaller_bound_close_at_once_and_are_counted() -> None:
    kafka = FakeKafka()
    next_offset = begun(kafka, load_settings(), [click(key, at) for at, key in enumerate("abc")])
    second = Sessionizer(kafka, changed("sessions.max_open", 1)).restore(next_offset)
    second.commit()
    assert (items_of(kafka), second.early("open")) == ([["a0"], ["b1"]], 2)


def test_a_session_above_a_smaller_bound_of_clicks_closes_with_its_next_one() -> None:
    kafka = FakeKafka()
    next_offset = begun(kafka, load_settings(), [click("a", at) for at in range(5)])
    second = Sessionizer(kafka, changed("sessions.max_clicks", 3)).restore(next_offset)
    second.take(click("a", 5))
    second.commit()
    assert items_of(kafka) == [["a0", "a1", "a2", "a3", "a4", "a5"]]


def test_sessions_above_a_smaller_bound_of_bytes_close_with_their_next_click() -> None:
    kafka = FakeKafka()
    next_offset = begun(kafka, load_settings(), [click("a", at) for at in range(50)])
    second = Sessionizer(kafka, changed("sessions.max_bytes", 1_024)).restore(next_offset)
    second.take(click("a", 50), click("a", 51))
    second.commit()
    assert items_of(kafka) == [[f"a{at}" for at in range(51)]]
    assert second.early("bytes") == 1


def test_the_watermark_waits_under_a_longer_lateness() -> None:
    kafka = FakeKafka()
    next_offset = begun(kafka, load_settings(), [click("a", 0), click("b", 20)])
    second = Sessionizer(kafka, changed("sessions.lateness", "1h")).restore(next_offset)
    second.take(click("c", 25))
    assert second.task._window.watermark == click("b", 20).time
    second.take(click("c", 90))
    assert second.task._window.watermark == click("b", 30).time


def test_partitions_that_were_added_are_noted() -> None:
    kafka = FakeKafka()
    next_offset = begun(kafka, load_settings())
    kafka.partitions[TOPICS.clicks] = 3
    Sessionizer(kafka, load_settings()).restore(next_offset).commit()
    changes = written(kafka, TOPICS.sessionizer_state, "RulesChange")
    assert [change["rules"][PARTITIONS] for change in changes] == ["1", "3"]
    assert [r.key() for r in kafka.records(TOPICS.sessionizer_state, 0)].count(RULES_KEY) == 2


def test_a_topic_that_was_made_again_with_fewer_partitions_is_another_one() -> None:
    kafka = FakeKafka({TOPICS.clicks: 3})
    next_offset = begun(kafka, load_settings())
    kafka.partitions[TOPICS.clicks] = 2
    kafka.topic_ids[TOPICS.clicks] = "another"
    with pytest.raises(TopicError, match=r"created again.*\(3 partitions\).*\(2\).*reset"):
        Sessionizer(kafka, load_settings()).restore(next_offset)
