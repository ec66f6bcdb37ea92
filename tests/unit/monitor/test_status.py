"""The status: what is shown of blocks, versions, lag and refusals, and the metrics of it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from ader_stream.metrics import Metrics
from ader_stream.monitor.counts.counting import CountingRule
from ader_stream.monitor.leader import Leader
from ader_stream.monitor.status.exports import StatusMetrics
from ader_stream.monitor.status.quality import mean_estimate
from ader_stream.monitor.status.whole import Status, StatusMaker
from ader_stream.paired import GROUPS, PairedCounts, Sums
from ader_stream.stream.avro.codec import SCHEMA_HEADER, TYPE_HEADER, encode
from ader_stream.stream.model_registry.manifest_record import encode_manifest
from ader_stream.stream.scores.paired_log import PairedKey, encode_paired
from ader_stream.stream.scores.score_log import Score, ScoreKey, encode_score
from ader_stream.types import HOUR_MS, RECIPROCAL_UNIT, BlockRule, Counts
from tests.fakes import FakeKafka, complete_manifest
from tests.unit.monitor.shop import (
    BLOCK_MS,
    TOPICS,
    add_letter,
    add_sessions,
    end_block,
    five_blocks,
    monitor,
    session,
    shop_topics,
)
from tests.unit.monitor.shop import RULE as KEEPS_THREE

RULE = BlockRule(0, BLOCK_MS)


@pytest.fixture
def kafka() -> FakeKafka:
    return shop_topics()


def five(kafka: FakeKafka) -> FakeKafka:
    for _ in five_blocks(kafka):
        pass
    return kafka


def publish(kafka: FakeKafka, version: int, **fields: Any) -> None:
    value, headers = encode_manifest(complete_manifest(version, **fields), None)
    kafka.append(TOPICS.models, value, str(version), headers)


def serve(kafka: FakeKafka, worker: str, version: int | None, *partitions: int) -> None:
    held = [{"partition": partition, "open_block": 0} for partition in partitions]
    value = {"worker": worker, "address": worker, "version": version, "partitions": held}
    data, headers = encode("Serving", value)
    kafka.append(TOPICS.serving, data, worker, headers)


def score(kafka: FakeKafka, block: int, version: int, **counts: int) -> None:
    scored = Score(counts["targets"], Counts(**counts))
    key, data, headers = encode_score(ScoreKey(block, version, 0), scored)
    kafka.append(TOPICS.scores, data, key, headers)


def leading(kafka: FakeKafka, rule: CountingRule = KEEPS_THREE) -> Leader:
    leader = monitor(kafka, rule)
    while leader.poll(0) or not leader.intake.has_caught_up:
        pass
    return leader


def made_status(kafka: FakeKafka) -> Status:
    return StatusMaker(leading(kafka), RULE).make()


def shown(kafka: FakeKafka) -> dict[str, Any]:
    return made_status(kafka).as_json()


def exported(metrics: Metrics) -> list[str]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_before_the_first_block_it_says_so(kafka: FakeKafka) -> None:
    add_sessions(kafka, 0, 0, session("a", ["hat"], 0))
    end_block(kafka, 0, 0)  # the other partition has not ended it
    status = shown(kafka)
    assert (status["state"], status["drift"]) == ("no block yet", {})
    assert "every partition" in status["reason"]
    assert [block["is_complete"] for block in status["blocks"]] == [False]


def test_empty_topics_are_no_error(kafka: FakeKafka) -> None:
    status = shown(kafka)
    assert (status["state"], status["blocks"], status["lags"]) == ("no block yet", [], {})
    assert status["refusals"]["ratios"] == {}


def test_the_last_complete_block_is_compared_with_those_before(kafka: FakeKafka) -> None:
    status = shown(five(kafka))
    assert status["state"] == "showing"
    assert [block["block"] for block in status["blocks"]] == [2, 3, 4]
    assert status["blocks"][0]["start"] == 2 * BLOCK_MS
    drift = status["drift"]["block"]
    assert (drift["block"], drift["against"]) == (4, (2, 3))
    names = {signal["name"] for signal in drift["drift"]["signals"]}
    assert {"unknown_items", "popularity_js", "repeat_clicks"} <= names


def test_the_open_block_is_compared_with_what_the_served_version_has_learned(
    kafka: FakeKafka,
) -> None:
    five(kafka)
    publish(kafka, 1, blocks=[3])
    serve(kafka, "a", 1, 0, 1)
    add_sessions(kafka, 5, 0, session("a", ["new"], 5 * BLOCK_MS))
    drift = shown(kafka)["drift"]
    assert (drift["open"]["block"], drift["open"]["against"]) == (5, (2, 3))
    [unknown] = [s for s in drift["open"]["drift"]["signals"] if s["name"] == "unknown_items"]
    assert unknown["value"] == 1
    assert drift["sliding"]["block"] is None


def test_an_unreadable_record_is_the_reason_for_which_it_is_not_ready(kafka: FakeKafka) -> None:
    newer = [(TYPE_HEADER, b"SessionBatch"), (SCHEMA_HEADER, b"newer")]
    kafka.append(TOPICS.sessions, b"", "0", newer)
    status = shown(kafka)
    assert status["state"] == "outdated"
    assert "update this process" in status["reason"]


def test_shows_the_quality_of_the_served_version_and_the_one_before(kafka: FakeKafka) -> None:
    for version in (1, 2, 3):
        publish(kafka, version)
        score(
            kafka, version, version, targets=100, hits20=10 * version, reciprocal20=RECIPROCAL_UNIT
        )
    score(kafka, 3, 3, targets=200, hits20=60, reciprocal20=0)  # counts are running: the last one
    quality = {each["role"]: each for each in shown(kafka)["versions"]["quality"]}
    assert quality.keys() == {"served", "previous"}
    assert (quality["served"]["version"], quality["served"]["targets"]) == (3, 200)
    assert quality["served"]["recall20"]["estimate"] == 0.3
    assert quality["previous"]["mrr20"]["estimate"] == 0.01


def test_two_versions_are_compared_on_the_same_clicks(kafka: FakeKafka) -> None:
    for version in (1, 2):
        publish(kafka, version)
    group = Sums(10, 1, RECIPROCAL_UNIT)
    counts = PairedCounts(Sums(640, 64, 0), (group,) * GROUPS)
    for partition in (0, 1):
        key, data, headers = encode_paired(PairedKey(2, 1, 2, partition), counts)
        kafka.append(TOPICS.scores, data, key, headers)
    [pair] = shown(kafka)["versions"]["pairs"]
    assert (pair["older"], pair["newer"], pair["clicks"]) == (1, 2, 1280)
    assert pair["recall20"]["estimate"] == 0.1


def test_an_estimate_has_bounds_even_where_nothing_was_hit() -> None:
    assert mean_estimate(0, 0) is None
    nothing = mean_estimate(0, 100)
    assert nothing is not None
    assert (nothing.estimate, nothing.lower) == (0, 0)
    assert 0.03 < nothing.upper < 0.04


def test_skew_and_age_are_those_of_workers_that_have_partitions(kafka: FakeKafka) -> None:
    five(kafka)
    for version in (1, 2, 3):
        publish(kafka, version, blocks=[version])
    serve(kafka, "dead", 1, 0, 1)
    serve(kafka, "a", 3, 0)
    serve(kafka, "b", 2, 1)
    versions = shown(kafka)["versions"]
    assert [worker["worker"] for worker in versions["workers"]] == ["a", "b"]
    assert (versions["skew"], versions["age_blocks"]) == (1, 2)


def test_the_lag_of_a_stage_is_event_time_behind_the_newest_click(kafka: FakeKafka) -> None:
    five(kafka)
    publish(kafka, 1, blocks=[3])
    serve(kafka, "a", 1, 0, 1)
    data, headers = encode("Watermark", {"stream_time": 6 * BLOCK_MS})
    kafka.append(TOPICS.watermarks, data, "1", headers)
    lags = {stage: lag["lag_seconds"] for stage, lag in shown(kafka)["lags"].items()}
    block = BLOCK_MS / 1000
    assert (lags["clicks"], lags["block_end"], lags["trained"], lags["served"]) == (
        *(0, block, 2 * block, 2 * block),
    )
    assert lags["sessions"] == pytest.approx(block + 7200 - 0.001 - 120, abs=1)


def test_refused_clicks_are_a_share_of_those_of_the_last_day(kafka: FakeKafka) -> None:
    add_letter(kafka, 0, "late", 0)
    for _ in range(3):
        add_letter(kafka, 1, "malformed", 30 * HOUR_MS)
    add_sessions(kafka, 7, 0, session("a", ["hat"] * 7, 7 * BLOCK_MS))  # written in hour 28
    assert shown(kafka)["refusals"]["ratios"] == {"malformed": 0.3}


def test_ten_thousand_versions_have_as_many_labels_as_two(kafka: FakeKafka) -> None:
    for version in range(1, 201):
        publish(kafka, version)
        score(kafka, version, version, targets=1)
    leader, metrics = leading(kafka), Metrics(CollectorRegistry())
    StatusMetrics(metrics).show(StatusMaker(leader, RULE).make())
    assert len([line for line in exported(metrics) if "monitored_version" in line]) == 2
    assert len(leader.views.scores) == leader.state.rule.blocks


def test_metrics_are_those_of_the_status_and_disappear_with_it(kafka: FakeKafka) -> None:
    five(kafka)
    publish(kafka, 1)
    metrics = Metrics(CollectorRegistry())
    exports = StatusMetrics(metrics)
    exports.show(StatusMaker(leading(kafka), RULE).make())
    lines = exported(metrics)
    assert 'ader_drift_block{scope="block"} 4.0' in lines
    assert 'ader_drift_state{scope="block",signal="repeat_clicks",state="fine"} 0.0' in lines
    insufficient = 'signal="repeat_clicks",state="insufficient data"'
    assert f'ader_drift_state{{scope="block",{insufficient}}} 1.0' in lines
    assert 'ader_monitored_version{role="served"} 1.0' in lines

    exports.show(StatusMaker(leading(shop_topics()), RULE).make())
    left = {line.partition("{")[0].partition(" ")[0] for line in exported(metrics)}
    assert left == {
        "ader_drift_blocks",
        "ader_monitor_caught_up",
        "ader_monitor_unreadable_partitions",
        "ader_serving_workers",
    }
    exports.clear()
    assert exported(metrics) == []


def test_earlier_values_of_a_signal_are_those_of_the_blocks_before(kafka: FakeKafka) -> None:
    drift = shown(five(kafka))["drift"]["block"]
    assert drift["block"] == 4
    [(block, value)] = drift["earlier"]["unknown_items"]  # of three kept blocks, one has one before
    assert (block, value) == (3, 0.0)


def test_quality_by_block_is_that_of_the_version_with_most_clicks(kafka: FakeKafka) -> None:
    publish(kafka, 1, blocks=[0])
    score(kafka, 1, 1, targets=10, hits20=5, reciprocal20=0)
    score(kafka, 2, 1, targets=4, hits20=4, reciprocal20=0)
    score(kafka, 2, 2, targets=8, hits20=2, reciprocal20=2 * RECIPROCAL_UNIT)
    found = shown(five(kafka))["versions"]["by_block"]
    assert [(one["block"], one["version"], one["recall20"], one["mrr20"]) for one in found] == [
        (1, 1, 0.5, 0.0),
        (2, 2, 0.25, 0.25),
    ]


def test_a_block_that_is_recommended_worse_than_usual_is_told_with_the_cause(
    kafka: FakeKafka,
) -> None:
    for block in range(8):
        publish(kafka, block + 1, blocks=[block])
        for partition in (0, 1):
            visits = [
                session(f"v{n}", ["hat", "shoe", f"item-{n % 7}"], block * BLOCK_MS + n)
                for n in range(500)
            ]
            add_sessions(kafka, block, partition, *visits)
            end_block(kafka, block, partition)
        hits = 100 if block == 7 else 900
        score(kafka, block, block, targets=2_000, hits20=hits, reciprocal20=hits * RECIPROCAL_UNIT)
    leader = monitor(kafka, CountingRule(blocks=16, sliding=HOUR_MS))
    while leader.poll(0) or not leader.intake.has_caught_up:
        pass
    report = StatusMaker(leader, RULE).make().blocks.reports[0]
    recall = report.drift.signal("recall20")
    assert recall is not None
    assert (report.block, recall.value, recall.state, recall.cause) == (7, 0.05, "act", "model")
    assert "clicks and sessions are as before" in recall.reason


def test_a_block_that_was_not_scored_moves_no_earlier_value_to_another_block(
    kafka: FakeKafka,
) -> None:
    for version in (1, 2, 3, 4):
        publish(kafka, version, blocks=[version - 1])
    for block in (1, 3, 4):
        score(kafka, block, block, targets=10, hits20=5, reciprocal20=0)
    status = StatusMaker(leading(five(kafka), CountingRule(5, HOUR_MS)), RULE).make().as_json()
    earlier = status["drift"]["block"]["earlier"]
    assert [block for block, _ in earlier["recall20"]] == [1, 3]
    assert [block for block, _ in earlier["unknown_items"]] == [1, 2, 3]
