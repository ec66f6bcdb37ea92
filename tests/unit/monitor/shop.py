"""A small shop's topics in memory, and a monitor that reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ader_stream.monitor.counts.counting import BLOCK, SLICE, CountingRule
from ader_stream.monitor.leader import Leader, MonitorSources
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import HOUR_MS, MINUTE_MS
from tests.fakes import FakeKafka, example

TOPICS = Topics("ader")
PARTITIONS = 2
RULE = CountingRule(blocks=3, sliding=HOUR_MS)
BLOCK_MS = 4 * HOUR_MS


def shop_topics() -> FakeKafka:
    """Every topic, empty."""
    return FakeKafka({name: count for name, count, _ in TOPICS.specifications(PARTITIONS)})


def session(key: str, items: list[str], first: int) -> dict[str, object]:
    """A session of one click a minute."""
    times = [first + number * MINUTE_MS for number in range(len(items))]
    return {"key": key, "items": items, "times": times, "carried": [], "extra": []}


def add_sessions(kafka: FakeKafka, block: int, partition: int, *sessions: object) -> None:
    """Write a batch of sessions."""
    value = {"partition": partition, "block": block, "sessions": sessions, "erased_to": 0}
    data, headers = encode("SessionBatch", value)
    timestamp = block * BLOCK_MS
    kafka.append(TOPICS.sessions, data, str(partition), headers, partition, timestamp)


def end_block(kafka: FakeKafka, block: int, partition: int) -> None:
    """End a block on a partition."""
    counts = {"clicks": 0, "sessions": 0, "late": 0}
    data, headers = encode("BlockEnd", {"partition": partition, "block": block, **counts})
    kafka.append(TOPICS.sessions, data, str(partition), headers, partition, block * BLOCK_MS)


def add_letter(kafka: FakeKafka, partition: int, reason: str, timestamp: int) -> None:
    """Write a refused click."""
    data, headers = encode("DeadLetter", example("DeadLetter") | {"reason": reason})
    kafka.append(TOPICS.dead_letters, data, None, headers, partition, timestamp)


def monitor(
    kafka: FakeKafka, rule: CountingRule = RULE, require: Callable[[], None] = lambda: None
) -> Leader:
    """A leader that was just chosen."""
    sources = MonitorSources(kafka, TOPICS, rule, Trust(), lambda _: None)
    return Leader(sources, CommitHealth(), require)


def numbers(leader: Leader) -> dict[str, object]:
    """Everything that was counted, comparable."""
    found: dict[str, object] = {}
    for partition, counted in leader.state.sessions.items():
        for span, counts in counted.spans.items():
            found[f"{span}/{partition}"] = counts.statistics.to_bytes(), counts.late
    for place in leader.state.places:
        hours = {hour: dict(counts) for hour, counts in place.hourly.hours.items()}
        found[f"{place.topic}/{place.partition}"] = vars(place) | {"hourly": hours}
    return found


def blocks(leader: Leader, partition: int = 0) -> list[int]:
    """Blocks that are kept."""
    return leader.state.sessions[partition].numbers(BLOCK)


def slices(leader: Leader, partition: int = 0) -> list[int]:
    """Slices that are kept."""
    return leader.state.sessions[partition].numbers(SLICE)


def five_blocks(kafka: FakeKafka) -> Iterator[None]:
    """Write five blocks of both partitions, a few records at a time."""
    for block in range(5):
        for partition in range(PARTITIONS):
            for visit in range(3):
                first = block * BLOCK_MS + visit * HOUR_MS + partition
                items = [f"item-{block % 3}", f"item-{visit}", "item-0"][: visit + 1]
                add_sessions(kafka, block, partition, session(f"v{visit}", items, first))
            add_letter(kafka, partition, "malformed", block * BLOCK_MS)
            yield
            end_block(kafka, block, partition)
            yield
