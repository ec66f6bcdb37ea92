"""A topic in memory with the clicks of a small shop, and what doctor says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickFormat
from ader_stream.stream.clicks.refusals import RefusalRule
from ader_stream.stream.diagnosis import DiagnosisInput, Finding, diagnose
from ader_stream.stream.sessions.task import SessionizerRules
from ader_stream.stream.topics.topics import Topics
from ader_stream.times import duration_text, instant_text
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, BlockRule, IntakeRule, SessionRule
from tests.fakes import FakeKafka

NOW = 1_764_460_000_000  # 2025-11-29T23:46:40Z
SINCE = NOW - 30 * DAY_MS
TOPICS = Topics("ader")
GAP = 30 * MINUTE_MS


def cluster(topics: Topics = TOPICS, partitions: int = 1) -> FakeKafka:
    """A broker with every topic, as ``topics create`` makes them."""
    specified = list(topics.specifications(partitions))
    kafka = FakeKafka({name: count for name, count, _ in specified})
    for name, _, config in specified:
        kafka.configs[name] |= config
    return kafka


def visits(count: int, since: int = SINCE, clicks: int = 3) -> Iterator[dict[str, Any]]:
    """Clicks of visits, one an hour, a minute between their clicks."""
    for visit in range(count):
        for click in range(clicks):
            time = since + visit * HOUR_MS + click * MINUTE_MS
            yield {"session": f"visit-{visit}", "item": f"sku-{click}", "time": time}


def send(
    kafka: FakeKafka,
    values: Iterable[dict[str, Any] | bytes | None],
    topic: str = TOPICS.clicks,
    partition: int | None = None,
    timestamp: int = NOW,
    **fields: Any,
) -> FakeKafka:
    """Write values, each to its session's partition."""
    for value in values:
        key = value.get("session") if isinstance(value, dict) else None
        raw = json.dumps(value).encode() if isinstance(value, dict) else value
        at = sum(str(key).encode()) % kafka.partitions[topic] if partition is None else partition
        kafka.append(topic, raw, **{"key": key, "partition": at, "timestamp": timestamp} | fields)
    return kafka


def heartbeat(kafka: FakeKafka, watermark: int, partition: int = 0) -> None:
    headers = [(WATERMARK_HEADER, b"%d" % watermark)]
    kafka.append(TOPICS.clicks, None, headers=headers, partition=partition, timestamp=NOW)


def rules_of(length: int = 7 * DAY_MS, gap: int = GAP) -> SessionizerRules:
    blocks = {"blocks.origin": instant_text(0), "blocks.length": duration_text(length)}
    return SessionizerRules(
        BlockRule(0, length),
        SessionRule(gap),
        IntakeRule(),
        RefusalRule(ratio=0.5, run=500),
        {"sessions.gap": duration_text(gap), **blocks},
    )


def subject(
    kafka: FakeKafka,
    topics: Topics = TOPICS,
    idle: int | None = MINUTE_MS,
    checks_times: bool = True,
    length: int = 7 * DAY_MS,
    start: str = "earliest",
    **format_: Any,
) -> DiagnosisInput:
    return DiagnosisInput(
        kafka,  # type: ignore[arg-type]
        topics,
        ClickFormat(**format_),
        rules_of(length),
        idle,
        checks_times=checks_times,
        clock=lambda: NOW / 1000,
        start=start,
    )


def diagnosed(kafka: FakeKafka, **options: Any) -> list[Finding]:
    return list(diagnose(subject(kafka, **options)))


def said(findings: Iterable[Finding], *levels: str) -> list[str]:
    """Text and remedy of what was found, of some levels."""
    return [f"{f.text} → {f.remedy}" for f in findings if f.level in levels]


def of(findings: Iterable[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]
