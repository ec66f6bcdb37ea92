"""What earlier workers have left behind, and whether later ones could continue from it."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.diagnosis import Finding, progress
from ader_stream.stream.groups.groups import Committed
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.sessions.task import SessionizerRules, SessionizerTasks
from ader_stream.types import DAY_MS, BlockRule
from tests.fakes import FakeAdmin, FakeKafka, FakeProducer
from tests.unit.stream.diagnosis.shop import (
    NOW,
    TOPICS,
    cluster,
    diagnosed,
    of,
    rules_of,
    said,
    send,
    visits,
)

GROUP = TOPICS.group("sessionizer")


def work(kafka: FakeKafka, rules: SessionizerRules, partition: int = 0) -> FakeKafka:
    """Have a sessionizer read all of a partition, and commit."""
    decoder = ClickDecoder(ClickFormat())
    tasks = SessionizerTasks(
        kafka,  # type: ignore[arg-type]
        TOPICS,
        decoder,
        rules,
        Metrics(CollectorRegistry()),
        Erasures(),
    )
    [task] = tasks([partition]).values()
    records = kafka.records(TOPICS.clicks, partition)
    task.restore(Committed(0), 0)
    task.process([*records])
    transaction, producer = Transaction(), FakeProducer(kafka)
    task.write(transaction, len(records))
    producer.begin_transaction()
    transaction.send(producer)
    producer.commit_transaction(1)
    kafka.committed[GROUP, (TOPICS.clicks, partition)] = len(records)
    return kafka


def worked(partitions: int = 1) -> FakeKafka:
    kafka = send(cluster(partitions=partitions), visits(20))
    for partition in range(partitions):
        work(kafka, rules_of(), partition)
    return kafka


def found(kafka: FakeKafka, check: str, **options: Any) -> list[Finding]:
    return of(diagnosed(kafka, **options), check)


def test_a_system_that_has_never_run_has_nothing_to_continue_from() -> None:
    kafka = send(cluster(), visits(20))
    assert [f.text for f in found(kafka, "places")] == ["no worker has begun to read"]
    assert found(kafka, "state") == []


def test_a_system_that_has_run_continues() -> None:
    kafka = send(worked(), visits(1))
    [place], [state] = found(kafka, "places"), found(kafka, "state")
    assert place.text == "sessionizer has begun to read 1 partitions, 3 records are left"
    assert (state.level, state.details) == ("ok", {"open": 1, "changed": []})


def test_clicks_that_retention_has_taken_are_reported_with_the_way_on() -> None:
    kafka = send(worked(), visits(20))
    kafka.trimmed[TOPICS.clicks, 0] = 100
    [error] = said(found(kafka, "places"), "error")
    assert "40 records, offsets 60 to 99, were deleted before this worker had read them" in error
    assert "`ader-stream offsets skip --yes` continues at offset 100" in error


def test_many_partitions_with_the_same_trouble_are_counted() -> None:
    kafka = worked(partitions=8)
    for partition in range(8):
        send(kafka, visits(1), partition=partition)
        kafka.trimmed[TOPICS.clicks, partition] = len(kafka.log[TOPICS.clicks, partition])
    errors = said(found(kafka, "places"), "error")
    assert len(errors) == progress.SHOWN + 1
    assert errors[-1].startswith("and 5 more partitions")


def test_a_group_that_somebody_has_moved_is_reported_as_the_worker_would() -> None:
    kafka = worked()
    kafka.committed[GROUP, (TOPICS.clicks, 0)] = 3
    [error] = said(found(kafka, "state"), "error")
    assert "the group continues at offset 3, the open sessions at 60" in error
    assert "offsets restore --yes" in error


def test_a_state_that_was_deleted_beside_sessions_is_reported_as_the_worker_would() -> None:
    kafka = worked(partitions=2)
    kafka.log[TOPICS.sessionizer_state, 1].clear()
    [error] = said(found(kafka, "state"), "error")
    assert "ader.sessionizer-state/1 is empty, although ader.sessions" in error
    assert "`ader-stream reset --yes`" in error
    kafka.log[TOPICS.sessions, 1].clear()
    assert not said(found(kafka, "state"), "error"), "nothing was ever committed there"


def test_a_topic_that_was_made_again_is_reported_as_the_worker_would() -> None:
    kafka = worked()
    kafka.topic_ids[TOPICS.clicks] = "another"
    [error] = said(found(kafka, "state"), "error")
    assert "another" in error


def test_rules_that_may_not_change_are_reported_as_the_worker_would() -> None:
    [error] = said(found(worked(), "state", length=DAY_MS), "error")
    assert "blocks.length = 1d: the state in ader.sessionizer-state/0 was made with 7d" in error


def test_rules_that_may_change_are_a_warning() -> None:
    kafka = work(send(cluster(), visits(20)), rules_of(gap=60_000))
    [warning] = said(found(kafka, "state"), "warning")
    assert "sessions.gap: 1m → 30m" in warning


def test_blocks_that_the_log_cuts_in_another_way_are_reported_though_a_worker_runs() -> None:
    kafka = worked()
    kafka.members[GROUP] = ["10.0.0.1"]
    ask(kafka, TOPICS, Command("blocks", block_rule=BlockRule(0, 7 * DAY_MS)))  # type: ignore[arg-type]
    assert [f.level for f in found(kafka, "block rule")] == ["ok"]
    [error] = said(found(kafka, "block rule", length=DAY_MS), "error")
    assert "blocks.length = 1d: blocks are cut with blocks.length = 7d" in error


def test_a_worker_that_runs_is_left_alone() -> None:
    kafka = worked()
    kafka.members[GROUP] = ["10.0.0.1"]
    [state] = found(kafka, "state", length=DAY_MS)
    assert (state.level, "a sessionizer is running (worker at 10.0.0.1)" in state.text) == (
        "ok",
        True,
    )


def test_a_state_that_is_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOST_STATE", 0)
    assert [f.level for f in found(worked(), "state", length=DAY_MS)] == ["ok"]


def test_groups_that_may_not_be_described_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: Any) -> None:
        raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))

    monkeypatch.setattr(FakeAdmin, "describe_consumer_groups", forbid)
    [warning] = said(found(worked(), "state"), "warning")
    assert "Read on sessionizer-state and Describe on the workers' groups" in warning


def test_a_state_continues_with_blocks_that_were_changed() -> None:
    kafka = work(send(cluster(), visits(20)), rules_of(length=DAY_MS))
    days = BlockRule(0, DAY_MS)
    assert said(found(kafka, "state"), "error")
    changed = days.changed(days.block_of(NOW) + 1, 0, 7 * DAY_MS)
    ask(kafka, TOPICS, Command("blocks", block_rule=changed))  # type: ignore[arg-type]
    assert not said(found(kafka, "state"), "error")
    [error] = said(found(kafka, "block rule", length=DAY_MS), "error")
    assert "blocks are cut with blocks.length = 7d from block" in error
